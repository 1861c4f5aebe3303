"""What a command line and carrara.toml say of a server, as its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from carrara.cli.serving_flags import Flags, channel_arguments
from carrara.core.clock import duration
from carrara.core.config import LimitSection, ServingSection, read_limits
from carrara.core.errors import ConfigurationError
from carrara.core.memory import bytes_of
from carrara.serving.certificates import Certificates, read_pem
from carrara.serving.folder_predictor import Opening
from carrara.serving.folders import ConfigFile, Folders, folders_of_file
from carrara.serving.limits import Limit
from carrara.serving.manager import Threads
from carrara.serving.model_config import ModelConfig, read_batching, read_metrics_path, read_tls, without_effect
from carrara.serving.options import DEFAULT_WIRE, Wire
from carrara.serving.residency import Bounds
from carrara.serving.slots import Retry


def with_tls(wire: Wire, root: Path, named: ServingSection) -> Wire:
    """The wire with the key and the certificate that carrara.toml names."""
    if not named.tls_certificate and not named.tls_key:
        return wire
    files = root / named.tls_key, root / named.tls_certificate
    return replace(wire, tls=Certificates(partial(read_pem, *files), files))


def read_limits_of(path: Path | None) -> dict[str, Limit]:
    return limits_of(read_limits(path)) if path is not None else {}


def limits_of(sections: Mapping[str, LimitSection]) -> dict[str, Limit]:
    for name, one in sections.items():
        if min(one.requests_per_second, one.concurrent, one.rows) < 0:
            raise ConfigurationError(f"a limit of '{name}' is negative", hint="0 is no limit.")
    return {name: Limit(one.requests_per_second, one.concurrent, one.rows) for name, one in sections.items()}


def message_bytes_of(text: str | None, usual: int) -> int:
    """The largest message; ConfigurationError where gRPC could not have it."""
    count = bytes_of(text) if text else usual
    if not 0 < count < 1 << 31:
        raise ConfigurationError(f"no message can have {count:,} bytes", hint="gRPC's have less than 2 GiB.")
    return count


def wire_of(flags: Flags, max_message: str | None) -> Wire:
    batching, monitoring, tls = (
        flags.text(name) for name in ("batching_parameters_file", "monitoring_config_file", "ssl_config_file")
    )
    most_rows = read_batching(Path(batching))[0] if batching else DEFAULT_WIRE.most_rows
    return Wire(
        most_rows=most_rows if flags.switch("enable_batching", True) else 1,
        body_seconds=flags.number("rest_api_timeout_in_ms", DEFAULT_WIRE.body_seconds * 1000) / 1000,
        cors=flags.switch("rest_api_enable_cors_support"),
        metrics_path=read_metrics_path(Path(monitoring)) if monitoring else "",
        tls=Certificates(partial(read_tls, Path(tls)), [Path(tls)]) if tls else None,
        socket_path=flags.text("grpc_socket_path"),
        message_bytes=message_bytes_of(max_message, DEFAULT_WIRE.message_bytes),
        channel_arguments=channel_arguments(flags.text("grpc_channel_arguments")),
    )


def tell_without_effect(flags: Flags) -> None:
    batching = flags.text("batching_parameters_file")
    for sentence in [*flags.without_effect(), *(without_effect(Path(batching)) if batching else [])]:
        print(sentence, file=sys.stderr)


def set_threads(flags: Flags) -> None:
    """Tell TensorFlow, before it is imported, in how many threads it runs; ConfigurationError where they contradict."""
    both, within, between = (
        int(flags.number(f"tensorflow_{name}_parallelism", 0)) for name in ("session", "intra_op", "inter_op")
    )
    if both and (within or between):
        raise ConfigurationError(
            "--tensorflow_session_parallelism is given beside what it stands for",
            hint="Give it alone, or --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism.",
        )
    for name, count in (("TF_NUM_INTRAOP_THREADS", within or both), ("TF_NUM_INTEROP_THREADS", between or both)):
        if count:
            os.environ[name] = str(count)


def threads_of(flags: Flags, with_folders: bool, memory_budget: str | None) -> Threads:
    """In how many threads folders are loaded and unloaded; ConfigurationError where that cannot be."""
    found = Threads(*(int(flags.number(f"num_{name}_threads", 0)) for name in ("load", "unload")))
    if found.loading and memory_budget:
        raise ConfigurationError(
            "--num_load_threads and --memory-budget exclude each other",
            hint="What a version takes is measured while nothing else is loaded.",
        )
    if found != Threads() and not with_folders:
        raise ConfigurationError("--num_load_threads and --num_unload_threads are of servers of folders")
    return found


def folders_of(flags: Flags, name: str, base_path: str | None, poll_seconds: float, allow_python: bool) -> Folders:
    batching, listed = flags.text("batching_parameters_file"), flags.text("model_config_file")
    if batching and not flags.switch("enable_batching"):
        raise ConfigurationError("--batching_parameters_file needs --enable_batching")
    if flags.switch("enable_per_model_batching_parameters") and not flags.switch("enable_batching", True):
        raise ConfigurationError("--enable_per_model_batching_parameters needs --enable_batching")
    if listed and base_path:
        raise ConfigurationError(
            "--model_config_file and --model_base_path are given; only one of them says what to serve"
        )
    opening = Opening(
        saved_model_tags=tuple((flags.text("saved_model_tags") or "serve").split(",")),
        warm_up=flags.switch("enable_model_warmup", True),
        allow_code=allow_python,
        warm_up_iterations=max(1, int(flags.number("num_request_iterations_for_warmup", 1))),
        sizes=read_batching(Path(batching))[1] if batching else (),
        own_batching=flags.switch("enable_per_model_batching_parameters"),
    )
    always = flags.switch("servable_versions_always_present")
    if listed:
        file = ConfigFile(Path(listed), flags.number("model_config_file_poll_wait_seconds", 0))
        early = flags.switch("allow_version_labels_for_unavailable_models")
        return folders_of_file(file, poll_seconds, opening, early_labels=early, always_present=always)
    return Folders([ModelConfig(name, str(base_path))], poll_seconds, opening, always_present=always)


def bounds_of(memory: str | None, idle: str | None, retire: str | None) -> Bounds:
    """What may be in memory; CarraraError where one of them is no size, or no time."""
    after = [None if text is None else duration(text).total_seconds() for text in (idle, retire)]
    return Bounds(bytes_of(memory) if memory else None, *after)


def retry_of(usual: Retry, most: int | None, micros: int | None) -> Retry:
    given = usual if most is None else replace(usual, most=most)
    return given if micros is None else replace(given, seconds=micros / 1e6)
