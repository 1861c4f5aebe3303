"""TensorFlow Serving's configuration files, text protobufs: which models a server serves, batching, monitoring, TLS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.inference import MOST_ROWS
from carrara.serving.protocols.messages import message
from carrara.serving.transports.base import Tls
from carrara.serving.versions import All, Latest, Specific, VersionPolicy

PLATFORMS = ("", "tensorflow", "carrara")


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve: its name, where its versions are, which of them, and names for them."""

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


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
    return ModelConfig(config.name, config.base_path, _policy(config), dict(config.version_labels))


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


def read_batching(path: Path) -> tuple[int, tuple[int, ...]]:
    """The most rows and the allowed numbers of rows of a `--batching_parameters_file`.

    What it says of timers and threads has no meaning here: what waits is the next batch.
    """
    found = read_text(path, "BatchingParameters")
    most = found.max_batch_size.value if found.HasField("max_batch_size") else MOST_ROWS
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
