"""`carrara feature import`: definitions from another feature store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption
from carrara.cli.output import print_json
from carrara.core.config import find_root
from carrara.core.errors import CarraraError, ConfigurationError

if TYPE_CHECKING:
    from carrara.features.feast import FeastImport

app = typer.Typer(help="Definitions from another feature store.", no_args_is_help=True)


@app.callback()
def stores() -> None:
    """Definitions from another feature store."""


@app.command()
def feast(
    path: Annotated[Path, typer.Argument(help="A Feast repository's folder, or its registry file.")],
    output: Annotated[Path | None, typer.Option(help="Write the definitions to this file; it must be new.")] = None,
    project: Annotated[str | None, typer.Option(help="Of a registry that holds several.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write the definitions that a Feast repository stands for, and say what could not be taken over."""
    from carrara.features.feast import import_feast

    found = import_feast(path, _root(workspace), project)
    if output is not None:
        _write_new(output, found.definitions)
    if as_json:
        print_json({**vars(found), "output": str(output) if output else None})
        return
    if output is None:
        typer.echo(found.definitions, nl=False)
    _report(found, output)


def _root(folder: Path) -> Path:
    """The workspace at or above a folder, or the folder itself where a workspace is still to be made."""
    try:
        return find_root(folder)
    except ConfigurationError:
        return folder


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CarraraError(f"{path} is there already", hint="Name a new file, and move over what you want.") from None
    except OSError as error:
        raise CarraraError(f"{path} cannot be written: {error.strerror}") from None


def _report(found: FeastImport, output: Path | None) -> None:
    plurals = {"entity": "entities", "dataset": "datasets", "feature view": "feature views"}
    counts = ", ".join(f"{len(names)} {plurals[kind]}" for kind, names in found.imported.items())
    lines = [f"imported from project '{found.project}': {counts}" + (f" → {output}" if output else "")]
    lines += ["not imported:"] if found.skipped else []
    lines += [f"  {one.kind} {one.name}: {one.why}" for one in found.skipped]
    lines += ["to look at:"] if found.notes else []
    for line in [*lines, *(f"  {note}" for note in found.notes)]:
        typer.echo(line, err=True)
