"""`serve`: a workspace's deployments, or a folder of versions, behind gRPC and REST."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara import __version__
from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say
from carrara.core.errors import ConfigurationError

if TYPE_CHECKING:
    from carrara.serving.options import ServerOptions
    from carrara.serving.processes import Workers
    from carrara.serving.server import ModelServer


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
    retire: Annotated[
        str | None,
        typer.Option("--retire", help="Unload an endpoint that nobody has asked for so long, and refuse it: 30d."),
    ] = None,
    manage: Annotated[
        bool,
        typer.Option(
            "--manage", help="Let models be loaded and unloaded, over REST also deployed: by deployers, with tokens."
        ),
    ] = False,
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
    # Nearly all that a start makes stays: to look again and again for what does not takes a tenth of it.
    gc.disable()
    context.call_on_close(gc.enable)

    from carrara.cli.serving_flags import parse_flags
    from carrara.cli.serving_options import (
        bounds_of,
        folders_of,
        limits_of,
        message_bytes_of,
        read_limits_of,
        retry_of,
        set_threads,
        tell_without_effect,
        threads_of,
        wire_of,
        with_tls,
    )
    from carrara.serving.guard import is_loopback
    from carrara.serving.options import ServerOptions
    from carrara.serving.run import serve_folders
    from carrara.serving.slots import Retry

    flags = parse_flags(context.args, [name for one in context.command.params for name in one.opts])
    if flags.switch("version"):
        say(f"carrara {__version__}")
        return
    set_threads(flags)
    if not shared:
        tell_without_effect(flags)
    with_folders = bool(model_base_path or flags.text("model_config_file"))
    options = ServerOptions(
        host=host or "127.0.0.1",
        insecure=insecure,
        grpc_port=8500 if grpc_port is None else grpc_port,
        rest_port=8501 if rest_port is None else rest_port,
        poll_seconds=poll_seconds,
        retry=retry_of(Retry() if with_folders else Retry(most=None, seconds=5), most_retries, retry_micros),
        unload_first=unload_first,
        until_eof=until_eof,
        wire=replace(wire_of(flags, max_message), shared=shared, limits=read_limits_of(limits)),
        bounds=bounds_of(memory_budget, idle, retire),
        manage=manage,
        access_log=access_log,
        threads=threads_of(flags, with_folders, memory_budget),
    )
    ready = _ready_json if as_json else _ready
    if processes > 1 and flags.text("grpc_socket_path"):
        raise ConfigurationError("--grpc_socket_path is of one process", hint="Leave out --processes.")
    if with_folders and processes == 1:
        folders = folders_of(flags, model_name, model_base_path, poll_seconds, allow_python)
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
                with_tls(options.wire, ws.root, named),
                limits={**limits_of(named.limits), **options.wire.limits},
                message_bytes=message_bytes_of(max_message or named.max_message, options.wire.message_bytes),
            ),
            access_log=access_log or (ws.root / named.access_log if named.access_log else None),
        )
        if processes == 1:
            from carrara.serving.run_workspace import serve_workspace

            serve_workspace(ws.stores_for_serving(), options, ready, ws.features.get, ws.endpoints)
            return
        # A store of an earlier release is brought up to date once, before the processes open it.
        ws.stores_for_serving()
    _serve_processes(processes, options, ready)


def _serve_processes(count: int, options: ServerOptions, ready: Callable[[Workers, list[str]], None]) -> None:
    from carrara.serving.processes import Workers, serve_command

    command = serve_command(sys.argv[1:])
    gc.enable()
    workers = Workers(command, count, options.host, options.grpc_port, options.rest_port)
    workers.run(lambda endpoints: ready(workers, endpoints))


def _ready(server: ModelServer | Workers, endpoints: list[str]) -> None:
    from carrara.serving.transports.base import address_of

    grpc, rest = (address_of(server.host, port) for port in (server.grpc_port, server.rest_port))
    say(f"gRPC on {grpc}, REST on {rest}")
    say(f"endpoints: {', '.join(endpoints) or 'none yet; carrara deploy adds one'}. Stop with Ctrl-C.")


def _ready_json(server: ModelServer | Workers, endpoints: list[str]) -> None:
    print_json(
        {"host": server.host, "grpc_port": server.grpc_port, "rest_port": server.rest_port, "endpoints": endpoints}
    )
