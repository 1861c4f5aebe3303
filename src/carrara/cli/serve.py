"""`serve`: a workspace's deployments, or a folder of versions, behind gRPC and REST."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say
from carrara.core.errors import ConfigurationError

if TYPE_CHECKING:
    from carrara.cli.serving_flags import Flags
    from carrara.core.config import LimitSection, ServingSection
    from carrara.serving.folders import Folders
    from carrara.serving.limits import Limit
    from carrara.serving.manager import Threads
    from carrara.serving.options import ServerOptions, Wire
    from carrara.serving.processes import Workers
    from carrara.serving.residency import Bounds
    from carrara.serving.server import ModelServer
    from carrara.serving.slots import Retry


def serve(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option("--host", help="The address to listen on: by default as carrara.toml says, or loopback."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let others than this machine ask, with neither TLS nor tokens; said hourly."),
    ] = False,
    grpc_port: Annotated[
        int | None, typer.Option("--grpc-port", "--port", help="By default as carrara.toml says; 0 for a free one.")
    ] = None,
    rest_port: Annotated[
        int | None,
        typer.Option("--rest-port", "--rest_api_port", help="By default as carrara.toml says; 0 for a free one."),
    ] = None,
    model_base_path: Annotated[
        str | None,
        typer.Option(
            "--model_base_path", help="Serve this folder, or address, of numbered versions, with no workspace."
        ),
    ] = None,
    model_name: Annotated[str, typer.Option("--model_name", help="The folder's model by name.")] = "default",
    poll_seconds: Annotated[
        float,
        typer.Option("--file_system_poll_wait_seconds", min=0.01, help="How often it is looked at what to serve."),
    ] = 1.0,
    most_retries: Annotated[
        int | None,
        typer.Option(
            "--max_num_load_retries",
            min=0,
            help="How often a version that does not load is tried again: 5 times, or for a deployment without end.",
        ),
    ] = None,
    retry_micros: Annotated[
        int | None,
        typer.Option(
            "--load_retry_interval_micros", min=0, help="After how long: a minute, or for a deployment 5 seconds."
        ),
    ] = None,
    unload_first: Annotated[
        bool,
        typer.Option(
            "--unload-first", help="Unload the old version before the new one is loaded: less memory, and a gap."
        ),
    ] = False,
    allow_python: Annotated[
        bool,
        typer.Option("--allow-python", help="Run the model.py of a folder's version, in a process of its own."),
    ] = False,
    memory_budget: Annotated[
        str | None, typer.Option("--memory-budget", help="Load endpoints on demand within so much memory: 500MB, 4GB.")
    ] = None,
    idle: Annotated[
        str | None, typer.Option("--idle", help="Unload an endpoint that nobody has asked for so long: 30m, 2h.")
    ] = None,
    max_message: Annotated[
        str | None, typer.Option("--max-message", help="The largest message in and out: 64 MiB, or e.g. 256MB.")
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option("--limits", help="A TOML file with what each model takes, as [serving.limits] of carrara.toml."),
    ] = None,
    access_log: Annotated[
        Path | None, typer.Option("--access-log", help="Append a line of JSON for each request to this file.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="So many server processes at the same ports, started again where one ends.")
    ] = 1,
    shared: Annotated[
        int, typer.Option("--shared", hidden=True, help="So many processes listen at the same ports.")
    ] = 0,
    until_eof: Annotated[
        bool,
        typer.Option("--until-eof", help="Stop as well when standard input ends, as it does when its parent dies."),
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Serve every deployment, or a folder, over gRPC and REST, until it is told to stop.

    The other flags of tensorflow_model_server are taken too, as --NAME=VALUE: --model_config_file,
    --batching_parameters_file, --monitoring_config_file, --ssl_config_file, --rest_api_enable_cors_support, ...
    """
    from carrara.cli.serving_flags import parse_flags
    from carrara.serving.guard import is_loopback
    from carrara.serving.options import ServerOptions
    from carrara.serving.run import serve_folders
    from carrara.serving.slots import Retry

    flags = parse_flags(context.args, [name for one in context.command.params for name in one.opts])
    _set_threads(flags)
    if not shared:
        _tell_without_effect(flags)
    with_folders = bool(model_base_path or flags.text("model_config_file"))
    options = ServerOptions(
        host=host or "127.0.0.1",
        insecure=insecure,
        grpc_port=8500 if grpc_port is None else grpc_port,
        rest_port=8501 if rest_port is None else rest_port,
        poll_seconds=poll_seconds,
        retry=_retry(Retry() if with_folders else Retry(most=None, seconds=5), most_retries, retry_micros),
        unload_first=unload_first,
        until_eof=until_eof,
        wire=replace(_wire(flags, max_message), shared=shared, limits=_limits(limits)),
        bounds=_bounds(memory_budget, idle),
        access_log=access_log,
        threads=_threads(flags, with_folders, memory_budget),
    )
    ready = _ready_json if as_json else _ready
    if processes > 1 and flags.text("grpc_socket_path"):
        raise ConfigurationError("--grpc_socket_path is of one process", hint="Leave out --processes.")
    if with_folders and processes == 1:
        folders = _folders(flags, model_name, model_base_path, poll_seconds, allow_python)
        serve_folders(folders, options, ready)
        return
    if with_folders:
        _serve_processes(processes, options, ready)
        return
    with open_workspace(workspace) as ws:
        named = ws.configuration.serving
        at = host or named.host
        options = replace(
            options,
            host=at,
            grpc_port=named.grpc_port if grpc_port is None else grpc_port,
            rest_port=named.rest_port if rest_port is None else rest_port,
            tokens=named.tokens or not (insecure or is_loopback(at)),
            wire=replace(
                _with_tls(options.wire, ws.root, named),
                limits={**_limits_of(named.limits), **options.wire.limits},
                message_bytes=_message_bytes(max_message or named.max_message, options.wire.message_bytes),
            ),
            access_log=access_log or (ws.root / named.access_log if named.access_log else None),
        )
        if processes == 1:
            from carrara.serving.run_workspace import serve_workspace

            serve_workspace(ws.stores_for_serving(), options, ready, ws.features.get)
            return
        # A store of an earlier release is brought up to date once, before the processes open it.
        ws.stores_for_serving()
    _serve_processes(processes, options, ready)


def _with_tls(wire: Wire, root: Path, named: ServingSection) -> Wire:
    """The wire with the key and the certificate that carrara.toml names."""
    from carrara.serving.certificates import Certificates, read_pem

    if not named.tls_certificate and not named.tls_key:
        return wire
    files = root / named.tls_key, root / named.tls_certificate
    return replace(wire, tls=Certificates(partial(read_pem, *files), files))


def _limits(path: Path | None) -> dict[str, Limit]:
    from carrara.core.config import read_limits

    return _limits_of(read_limits(path)) if path is not None else {}


def _limits_of(sections: Mapping[str, LimitSection]) -> dict[str, Limit]:
    from carrara.serving.limits import Limit

    for name, one in sections.items():
        if min(one.requests_per_second, one.concurrent, one.rows) < 0:
            raise ConfigurationError(f"a limit of '{name}' is negative", hint="0 is no limit.")
    return {name: Limit(one.requests_per_second, one.concurrent, one.rows) for name, one in sections.items()}


def _message_bytes(text: str | None, usual: int) -> int:
    """The largest message; ConfigurationError where gRPC could not have it."""
    from carrara.core.memory import bytes_of

    count = bytes_of(text) if text else usual
    if not 0 < count < 1 << 31:
        raise ConfigurationError(f"no message can have {count:,} bytes", hint="gRPC's have less than 2 GiB.")
    return count


def _serve_processes(count: int, options: ServerOptions, ready: Callable[[Workers, list[str]], None]) -> None:
    from carrara.serving.processes import Workers, serve_command

    command = serve_command(sys.argv[1:])
    workers = Workers(command, count, options.host, options.grpc_port, options.rest_port)
    workers.run(lambda endpoints: ready(workers, endpoints))


def _wire(flags: Flags, max_message: str | None) -> Wire:
    from carrara.cli.serving_flags import channel_arguments
    from carrara.serving.certificates import Certificates
    from carrara.serving.model_config import read_batching, read_metrics_path, read_tls
    from carrara.serving.options import DEFAULT_WIRE, Wire

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
        message_bytes=_message_bytes(max_message, DEFAULT_WIRE.message_bytes),
        channel_arguments=channel_arguments(flags.text("grpc_channel_arguments")),
    )


def _tell_without_effect(flags: Flags) -> None:
    from carrara.serving.model_config import without_effect

    batching = flags.text("batching_parameters_file")
    for sentence in [*flags.without_effect(), *(without_effect(Path(batching)) if batching else [])]:
        print(sentence, file=sys.stderr)


def _set_threads(flags: Flags) -> None:
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


def _threads(flags: Flags, with_folders: bool, memory_budget: str | None) -> Threads:
    """In how many threads folders are loaded and unloaded; ConfigurationError where that cannot be."""
    from carrara.serving.manager import Threads

    found = Threads(*(int(flags.number(f"num_{name}_threads", 0)) for name in ("load", "unload")))
    if found.loading and memory_budget:
        raise ConfigurationError(
            "--num_load_threads and --memory-budget exclude each other",
            hint="What a version takes is measured while nothing else is loaded.",
        )
    if found != Threads() and not with_folders:
        raise ConfigurationError("--num_load_threads and --num_unload_threads are of servers of folders")
    return found


def _folders(flags: Flags, name: str, base_path: str | None, poll_seconds: float, allow_python: bool) -> Folders:
    from carrara.serving.folder_predictor import Opening
    from carrara.serving.folders import ConfigFile, Folders, folders_of_file
    from carrara.serving.model_config import ModelConfig, read_batching

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
    if listed:
        file = ConfigFile(Path(listed), flags.number("model_config_file_poll_wait_seconds", 0))
        early = flags.switch("allow_version_labels_for_unavailable_models")
        return folders_of_file(file, poll_seconds, opening, early_labels=early)
    return Folders([ModelConfig(name, str(base_path))], poll_seconds, opening)


def _bounds(memory: str | None, idle: str | None) -> Bounds:
    from carrara.core.clock import duration
    from carrara.core.memory import bytes_of
    from carrara.serving.residency import Bounds

    return Bounds(bytes_of(memory) if memory else None, duration(idle).total_seconds() if idle else None)


def _retry(usual: Retry, most: int | None, micros: int | None) -> Retry:
    given = usual if most is None else replace(usual, most=most)
    return given if micros is None else replace(given, seconds=micros / 1e6)


def _ready(server: ModelServer | Workers, endpoints: list[str]) -> None:
    from carrara.serving.transports.base import address_of

    grpc, rest = (address_of(server.host, port) for port in (server.grpc_port, server.rest_port))
    say(f"gRPC on {grpc}, REST on {rest}")
    say(f"endpoints: {', '.join(endpoints) or 'none yet; carrara deploy adds one'}. Stop with Ctrl-C.")


def _ready_json(server: ModelServer | Workers, endpoints: list[str]) -> None:
    print_json(
        {"host": server.host, "grpc_port": server.grpc_port, "rest_port": server.rest_port, "endpoints": endpoints}
    )
