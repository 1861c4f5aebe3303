"""`serve`: a workspace's deployments, or a folder of versions, behind gRPC and REST."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say

if TYPE_CHECKING:
    from carrara.serving.server import ModelServer
    from carrara.serving.slots import Retry


def serve(
    grpc_port: Annotated[
        int | None, typer.Option("--grpc-port", "--port", help="By default as carrara.toml says; 0 for a free one.")
    ] = None,
    rest_port: Annotated[
        int | None,
        typer.Option("--rest-port", "--rest_api_port", help="By default as carrara.toml says; 0 for a free one."),
    ] = None,
    model_base_path: Annotated[
        Path | None,
        typer.Option("--model_base_path", help="Serve this folder of numbered ONNX versions, with no workspace."),
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
    until_eof: Annotated[
        bool,
        typer.Option("--until-eof", help="Stop as well when standard input ends, as it does when its parent dies."),
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Serve every deployment, or a folder, over gRPC and REST, until it is told to stop."""
    from carrara.serving.folder import VersionFolder
    from carrara.serving.options import ServerOptions
    from carrara.serving.run import serve_folder, serve_workspace
    from carrara.serving.slots import Retry

    options = ServerOptions(
        grpc_port=8500 if grpc_port is None else grpc_port,
        rest_port=8501 if rest_port is None else rest_port,
        poll_seconds=poll_seconds,
        retry=_retry(Retry() if model_base_path else Retry(most=None, seconds=5), most_retries, retry_micros),
        unload_first=unload_first,
        until_eof=until_eof,
    )
    ready = _ready_json if as_json else _ready
    if model_base_path is not None:
        serve_folder(VersionFolder(model_name, model_base_path), options, ready)
        return
    with open_workspace(workspace) as ws:
        named = ws.configuration.serving
        serve_workspace(
            ws.stores,
            replace(
                options,
                host=named.host,
                grpc_port=named.grpc_port if grpc_port is None else grpc_port,
                rest_port=named.rest_port if rest_port is None else rest_port,
            ),
            ready,
        )


def _retry(usual: Retry, most: int | None, micros: int | None) -> Retry:
    given = usual if most is None else replace(usual, most=most)
    return given if micros is None else replace(given, seconds=micros / 1e6)


def _ready(server: ModelServer, endpoints: list[str]) -> None:
    say(f"gRPC on 127.0.0.1:{server.grpc_port}, REST on 127.0.0.1:{server.rest_port}")
    say(f"endpoints: {', '.join(endpoints) or 'none yet; carrara deploy adds one'}. Stop with Ctrl-C.")


def _ready_json(server: ModelServer, endpoints: list[str]) -> None:
    print_json({"grpc_port": server.grpc_port, "rest_port": server.rest_port, "endpoints": endpoints})
