"""The flags of `tensorflow_model_server`, so that `carrara serve` takes a command line that was written for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from carrara.core.errors import ConfigurationError, did_you_mean

_TRUE, _FALSE = ("", "true", "1"), ("false", "0")

HONOURED: dict[str, type] = {
    "version": bool,
    "rest_api_timeout_in_ms": int,
    "rest_api_enable_cors_support": bool,
    "ssl_config_file": str,
    "model_config_file": str,
    "model_config_file_poll_wait_seconds": float,
    "allow_version_labels_for_unavailable_models": bool,
    "servable_versions_always_present": bool,
    "saved_model_tags": str,
    "enable_batching": bool,
    "batching_parameters_file": str,
    "enable_per_model_batching_parameters": bool,
    "enable_model_warmup": bool,
    "num_request_iterations_for_warmup": int,
    "monitoring_config_file": str,
    "grpc_socket_path": str,
    "grpc_channel_arguments": str,
    "num_load_threads": int,
    "num_unload_threads": int,
    "tensorflow_session_parallelism": int,
    "tensorflow_intra_op_parallelism": int,
    "tensorflow_inter_op_parallelism": int,
}
"""Beside those that `carrara serve --help` lists."""

NEEDLESS = {
    "enable_serialization_as_tensor_content": "numbers always go as bytes",
    "flush_filesystem_caches": "nothing is kept of files that are read",
    "enable_grpc_healthcheck_service": "it is always there",
}
"""What is always so, or means nothing here: taken without a word."""

_ITS_OWN = "each runtime opens its format as it is"
_THREADS = "a port has threads of its own, and requests that wait are answered together"
_TFLITE = "a version's saved_model.pb is what is served, and TFLite is no runtime here"

IGNORED = {
    "rest_api_num_threads": _THREADS,
    "grpc_max_threads": _THREADS,
    "use_alts_credentials": "--ssl_config_file encrypts gRPC",
    "enable_profiler": "a profile's client would name a folder to write to; OpenTelemetry traces tell of requests",
    "platform_config_file": _ITS_OWN,
    "enable_signature_method_name_check": "any signature is answered by any method whose inputs it takes",
    "tensorflow_session_config_file": "--tensorflow_intra_op_parallelism and its siblings set the threads",
    "per_process_gpu_memory_fraction": "TensorFlow takes the memory that its own variables give it",
    "thread_pool_factory_config_file": _THREADS,
    "mixed_precision": _ITS_OWN,
    "remove_unused_fields_from_bundle_metagraph": _ITS_OWN,
    "prefer_tflite_model": _TFLITE,
    "num_tflite_pools": _TFLITE,
    "num_tflite_interpreters_per_pool": _TFLITE,
    "xla_cpu_compilation_enabled": _ITS_OWN,
    "xla_gpu_compilation_enabled": _ITS_OWN,
    "skip_initialize_tpu": "no TPU is looked for",
}
"""What is taken and has no effect, and what holds instead, which is said."""


@dataclass(frozen=True)
class Flags:
    """The values of the flags that were given, and the names of those that have no effect."""

    values: dict[str, str | int | float | bool] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def without_effect(self) -> list[str]:
        """A sentence for each flag that was given and has no effect."""
        return [f"--{name} has no effect: {IGNORED[name]}" for name in self.ignored]

    def text(self, name: str) -> str:
        return str(self.values.get(name, ""))

    def number(self, name: str, default: float) -> float:
        return float(self.values.get(name, default))

    def switch(self, name: str, default: bool = False) -> bool:
        return bool(self.values.get(name, default))


def parse_flags(arguments: Iterable[str], known: Iterable[str] = ()) -> Flags:
    """Flags as TensorFlow Serving writes them, `--name=value`, `--name value` or `--name`; ConfigurationError names the
    nearest.

    >>> parse_flags(["--enable_batching", "--rest_api_timeout_in_ms", "500", "--mixed_precision=bfloat16"])
    Flags(values={'enable_batching': True, 'rest_api_timeout_in_ms': 500}, ignored=('mixed_precision',))
    """
    values: dict[str, str | int | float | bool] = {}
    ignored: list[str] = []
    left = deque(arguments)
    while left:
        argument = left.popleft()
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in (*HONOURED, *NEEDLESS, *IGNORED):
            near = did_you_mean(name.replace("-", "_"), [*HONOURED, *IGNORED, *known])
            raise ConfigurationError(f"carrara serve has no option '{argument.partition('=')[0]}'", hint=near)
        if not equals and left and _is_value(name, left[0]):
            text = left.popleft()
        if name in HONOURED:
            values[name] = _value(name, text, HONOURED[name])
        elif name in IGNORED:
            ignored.append(name)
    return Flags(values, tuple(ignored))


def _is_value(name: str, argument: str) -> bool:
    """Whether what stands behind a flag is its value: behind a switch only what says on or off."""
    if HONOURED.get(name, str) is bool:
        return argument.lower() in (*_TRUE[1:], *_FALSE)
    return not argument.startswith("--")


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """What `--grpc_channel_arguments` lists, as grpcio takes it; ConfigurationError names what is no pair.

    >>> channel_arguments("grpc.max_connection_age_ms=2000, grpc.primary_user_agent=us")
    (('grpc.max_connection_age_ms', 2000), ('grpc.primary_user_agent', 'us'))
    """
    found: list[tuple[str, int | str]] = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.startswith("grpc."):
            raise ConfigurationError(
                f"--grpc_channel_arguments has '{part}'", hint="Write grpc.NAME=VALUE, several with commas between."
            )
        found.append((name, int(value) if value.lstrip("-").isdecimal() else value))
    return tuple(found)


def _value(name: str, text: str, kind: type) -> str | int | float | bool:
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ConfigurationError(f"--{name} is true or false, and not '{text}'")
        return text.lower() in _TRUE
    try:
        found: str | int | float = kind(text)
    except ValueError:
        raise ConfigurationError(f"--{name} takes a number, and not '{text}'") from None
    if not text or (not isinstance(found, str) and found < 0):
        raise ConfigurationError(f"--{name} takes a value", hint=f"Write it as --{name}=VALUE.")
    return found
