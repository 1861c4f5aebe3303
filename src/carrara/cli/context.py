"""What every command shares: the workspace it works on and the options that all commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from carrara.workspace.workspace import Workspace

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder, or one below it.", envvar="CARRARA_WORKSPACE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

HERE = Path(".")


def open_workspace(path: Path) -> Workspace:
    """The workspace at or above a folder; imported now, so that `--help` need not wait for it."""
    from carrara.workspace.workspace import Workspace

    return Workspace(path)


def typed_address(data: str | None) -> str | None:
    """A path that was typed is looked for from where it was typed; an address stays as it is."""
    return str(Path(data).resolve()) if data is not None and ":" not in data else data
