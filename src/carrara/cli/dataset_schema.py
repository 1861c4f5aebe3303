"""`carrara dataset schema`: what a dataset's rows must be, as a file that people edit and review."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace, typed_address
from carrara.cli.output import print_json, say

app = typer.Typer(help="The schema: infer, show, propose changes, accept them.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The dataset's name.")]
DataOption = Annotated[str | None, typer.Option(help="A file that the schema shall accept, in place of a version.")]


@app.command()
def infer(
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Write over a schema that people may have edited.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write schemas/NAME.toml from the statistics of the newest version, to be edited."""
    with open_workspace(workspace) as ws:
        path = ws.datasets.infer_schema(name, force=force)
        if as_json:
            print_json({"schema": str(path)})
            return
        say(f"{path}\nEdit it, commit it. It is held against data by: carrara dataset validate {name}")


@app.command()
def show(name: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The schema that the dataset is held against."""
    with open_workspace(workspace) as ws:
        text = ws.datasets.schema(name)
        if as_json:
            import tomllib

            print_json(tomllib.loads(text))
            return
        say(text.rstrip())


@app.command()
def diff(
    name: NameArgument, data: DataOption = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """The changes of the schema that would accept the newest version, or a file, as a diff that git applies."""
    with open_workspace(workspace) as ws:
        _, changes = ws.datasets.propose_schema(name, data=typed_address(data))
        if as_json:
            print_json({"dataset": name, "diff": changes})
            return
        say(changes.rstrip() or f"{name}: the schema accepts it as it is.")


@app.command()
def update(
    name: NameArgument, data: DataOption = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """Write the changes that `diff` shows into schemas/NAME.toml; comments and order stay."""
    with open_workspace(workspace) as ws:
        path, changes = ws.datasets.update_schema(name, data=typed_address(data))
        if as_json:
            print_json({"schema": str(path), "diff": changes})
            return
        say(changes.rstrip() + f"\n{path} accepts it now." if changes else f"{name}: the schema accepts it as it is.")
