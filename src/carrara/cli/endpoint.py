"""`deploy`, `serve`, `predict`: from a registered version to answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say

if TYPE_CHECKING:
    from carrara.serving.server import ModelServer


def deploy(
    address: Annotated[str, typer.Argument(help="NAME@3, NAME@ALIAS, or NAME for the newest.")],
    to: Annotated[str | None, typer.Option(help="The endpoint; by default the model's name.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make an endpoint serve a version; a running server follows within a second."""
    with open_workspace(workspace) as ws:
        made = ws.deploy(address, to)
        absent = ws.models.features_absent_online(f"{made.model}@{made.version}")
    if as_json:
        print_json({**vars(made), "features_absent_online": absent})
        return
    if absent:
        say(f"A server will load it once its features are online: carrara feature materialise {' '.join(absent)}")
    say(f"{made.endpoint} serves {made.model}@{made.version}. Next: carrara serve")


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
        float, typer.Option("--file_system_poll_wait_seconds", min=0.01, help="How often the folder is looked at.")
    ] = 1.0,
    until_eof: Annotated[
        bool,
        typer.Option("--until-eof", help="Stop as well when standard input ends, as it does when its parent dies."),
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Serve every deployment, or a folder, over gRPC and REST, until it is told to stop."""
    from carrara.serving.run import serve_folder, serve_workspace

    if model_base_path is not None:
        serve_folder(
            model_name,
            model_base_path,
            grpc_port=8500 if grpc_port is None else grpc_port,
            rest_port=8501 if rest_port is None else rest_port,
            poll_seconds=poll_seconds,
            ready=_ready_json if as_json else _ready,
            until_eof=until_eof,
        )
        return
    with open_workspace(workspace) as ws:
        named = ws.configuration.serving
        serve_workspace(
            ws.stores,
            host=named.host,
            grpc_port=named.grpc_port if grpc_port is None else grpc_port,
            rest_port=named.rest_port if rest_port is None else rest_port,
            ready=_ready_json if as_json else _ready,
            until_eof=until_eof,
        )


def predict(
    model: Annotated[str, typer.Argument(help="NAME (the champion), NAME@3 or NAME@ALIAS.")],
    input: Annotated[Path, typer.Option("--input", "-i", help="CSV or Parquet: keys, request fields, event_time.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV or Parquet, with the predictions.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Predict every row of a file, by the offline features of each row's time."""
    with open_workspace(workspace) as ws:
        rows = ws.predict_batch(model, input, output)
    if as_json:
        print_json({"rows": rows, "output": str(output)})
        return
    say(f"{rows:,} predictions in {output}")


def _ready(server: ModelServer, endpoints: list[str]) -> None:
    say(f"gRPC on 127.0.0.1:{server.grpc_port}, REST on 127.0.0.1:{server.rest_port}")
    say(f"endpoints: {', '.join(endpoints) or 'none yet; carrara deploy adds one'}. Stop with Ctrl-C.")


def _ready_json(server: ModelServer, endpoints: list[str]) -> None:
    print_json({"grpc_port": server.grpc_port, "rest_port": server.rest_port, "endpoints": endpoints})
