"""`deploy`, `predict`: from a registered version to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say


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
