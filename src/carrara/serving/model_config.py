"""TensorFlow Serving's configuration files, text protobufs: which models a server serves, batching, monitoring, TLS."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.certificates import Tls
from carrara.serving.inference import MOST_ROWS
from carrara.serving.protocols.messages import message
from carrara.serving.request_log import Logging
from carrara.serving.versions import All, Latest, Specific, VersionPolicy

_logger = logging.getLogger("carrara.serving")

BATCHING_FILE = "batching_params.pbtxt"
"""In a version's folder: BatchingParameters of its own."""

PLATFORMS = ("", "tensorflow", "carrara")


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve: its name, where its versions are, which of them, and names for them."""

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)
    logging: Logging | None = None


def read_text(path: Path, name: str) -> Any:
    """A message `name` from the text protobuf in `path`; ConfigurationError names the line that is wrong."""
    made = message(f"tensorflow.serving.{name}")()
    from google.protobuf import text_format

    try:
        text_format.Parse(path.read_text(), made)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except text_format.ParseError as error:
        raise ConfigurationError(f"{path} is not a {name} in protobuf's text form: {error}") from error
    return made


def read_models(path: Path) -> list[ModelConfig]:
    """The models of a `--model_config_file`."""
    return models_of(read_text(path, "ModelServerConfig"))


def models_of(config: Any) -> list[ModelConfig]:
    """The models of a ModelServerConfig; ConfigurationError where one cannot be served."""
    if config.WhichOneof("config") == "custom_model_config":
        raise ConfigurationError("custom_model_config is not served", hint="Give a model_config_list.")
    models = [_model(one) for one in config.model_config_list.config]
    names = [one.name for one in models]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"Illegal to list model {name} multiple times in config list")
    return models


def _model(config: Any) -> ModelConfig:
    if not config.name or not config.base_path:
        raise ConfigurationError("each model of a model_config_list needs a name and a base_path")
    if config.model_type and config.model_platform:
        raise ConfigurationError(f"Illegal to set both the model_type and the model_platform of model {config.name}")
    if config.model_platform not in PLATFORMS:
        raise ConfigurationError(
            f"model {config.name} has the platform '{config.model_platform}'",
            hint="'tensorflow' is any folder of versions, of whatever format.",
        )
    return ModelConfig(config.name, config.base_path, _policy(config), dict(config.version_labels), _logging(config))


def _logging(config: Any) -> Logging | None:
    """What of a model's requests is kept; ConfigurationError where that cannot be written."""
    if not config.HasField("logging_config"):
        return None
    prefix = config.logging_config.log_collector_config.filename_prefix
    share = config.logging_config.sampling_config.sampling_rate
    if not prefix:
        # A collector of one's own, in C++, needs none.
        _logger.warning("nothing of model %s is kept: its logging_config has no filename_prefix", config.name)
        return None
    if not Path(prefix).parent.is_dir():
        raise ConfigurationError(
            f"the filename_prefix '{prefix}' of model {config.name} is in no folder that is there",
            hint="Its files are PREFIX-MODEL-TIME.tfrecord, of PredictionLog.",
        )
    if not 0 <= share <= 1:
        raise ConfigurationError(f"the sampling_rate of model {config.name} is {share}, and not between 0 and 1")
    return Logging(prefix, share)


def _policy(config: Any) -> VersionPolicy:
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return All()
    if kind == "specific":
        if not policy.specific.versions:
            raise ConfigurationError(f"model {config.name} asks for specific versions and names none")
        return Specific(tuple(policy.specific.versions))
    return Latest(max(1, policy.latest.num_versions))


_INSTEAD = {
    "batch_timeout_micros": "nothing waits for a batch to fill: what came while the last one ran is the next one",
    "max_enqueued_batches": "1,024 requests, 512 MB and 10 seconds may wait, and more is refused at once",
    "num_batch_threads": "one batch of a port runs while the next one is gathered",
    "thread_pool_name": "all models share the threads of their ports",
    "pad_variable_length_inputs": "only inputs of equal shapes are run together",
}
"""What holds instead of what a `--batching_parameters_file` may say."""


def without_effect(path: Path) -> list[str]:
    """A sentence for each thing that a `--batching_parameters_file` says and that has no effect here."""
    given = {field.name for field, _ in read_text(path, "BatchingParameters").ListFields()}
    return [f"{name} has no effect: {instead}" for name, instead in _INSTEAD.items() if name in given]


def read_batching(path: Path) -> tuple[int, tuple[int, ...]]:
    """The most rows and the allowed numbers of rows of a `--batching_parameters_file`.

    Where large batches are split, the most are those of one execution; a request is never cut, and runs as it is.
    """
    found = read_text(path, "BatchingParameters")
    most = found.max_batch_size.value if found.HasField("max_batch_size") else MOST_ROWS
    if found.enable_large_batch_splitting.value and found.max_execution_batch_size.value:
        most = min(most, found.max_execution_batch_size.value)
    if most < 1 or any(size < 1 for size in found.allowed_batch_sizes):
        raise ConfigurationError(f"{path} has a batch size that is not positive")
    sizes = tuple(found.allowed_batch_sizes)
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != most):
        raise ConfigurationError(
            f"the allowed_batch_sizes of {path} must be monotonically increasing and end with max_batch_size, {most}"
        )
    return most, sizes


def read_tls(path: Path) -> Tls:
    """An `--ssl_config_file`: PEM texts, not paths."""
    found = read_text(path, "SSLConfig")
    for name in ("server_key", "server_cert"):
        if "-----BEGIN" not in getattr(found, name):
            raise ConfigurationError(f"the {name} of {path} is no PEM text", hint="It holds the text, not a path.")
    if found.client_verify and not found.custom_ca:
        raise ConfigurationError(f"{path} verifies clients and has no custom_ca")
    ca = found.custom_ca.encode() if found.client_verify else b""
    return Tls(found.server_key.encode(), found.server_cert.encode(), ca)


def read_metrics_path(path: Path) -> str:
    """Where a `--monitoring_config_file` wants Prometheus' metrics, or an empty text for nowhere."""
    found = read_text(path, "MonitoringConfig").prometheus_config
    return (found.path or "/monitoring/prometheus/metrics") if found.enable else ""
