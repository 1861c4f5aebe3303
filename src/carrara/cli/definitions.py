"""`init`, `plan`, `apply`: making a workspace, and agreeing on its definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say
from carrara.core.errors import ConfigurationError

if TYPE_CHECKING:
    from carrara.pipelines.plan import Plan

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")] = HERE,
    template: Annotated[str, typer.Option(help="What to start from: empty, or flights.")] = "empty",
    data: Annotated[Path | None, typer.Option(help="Or from a table: a file of examples.")] = None,
    label: Annotated[str, typer.Option(help="The table's column to predict.")] = "",
    time: Annotated[str | None, typer.Option(help="Its column of when each row is predicted.")] = None,
    trainer: Annotated[str, typer.Option(help="xgboost, lightgbm, linear, keras or torch.")] = "xgboost",
) -> None:
    """Make a workspace: carrara.toml, definitions.py, .gitignore; with --data, of a model that can be trained."""
    from carrara.demo.template import write_template, write_workspace

    if data is None:
        write_template(folder, template)
        say(f"{folder}: workspace made. Next: carrara plan --workspace {folder}")
        return
    if not label:
        raise ConfigurationError("--data without --label", hint="Name the column to predict: --label COLUMN.")
    from carrara.data.sources.files import read_file
    from carrara.demo.table import Table, definitions_of, identifier

    address = str(data.resolve())
    table = Table(address, read_file(address, data.parent), label, time)
    write_workspace(folder, {"definitions.py": definitions_of(table, trainer)})
    say(f"{folder}: workspace made. Next: carrara train {identifier(label)} --workspace {folder}")


def plan(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Show what `apply` would change: added, changed with the fields that differ, removed."""
    with open_workspace(workspace) as ws:
        _show(ws.plan(), as_json)


def apply(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Make the definition files the applied definitions, all or nothing."""
    with open_workspace(workspace) as ws:
        planned = ws.apply()
        _show(planned, as_json)
        if planned.changes and not as_json:
            say("Applied.")


def _show(planned: Plan, as_json: bool) -> None:
    if as_json:
        print_json({"changes": [_change(change) for change in planned.changes]})
        return
    if not planned.changes:
        say("No changes: the definitions are the applied ones.")
    for change in planned.changes:
        say(f"{_SIGNS[change.action]} {change.kind} {change.name}")
        for path, before, after in change.fields:
            say(f"    {path}: {_short(before)} → {_short(after)}")


def _change(change: Any) -> dict[str, Any]:
    fields = [{"field": path, "before": before, "after": after} for path, before, after in change.fields]
    return {"action": change.action, "kind": change.kind, "name": change.name, "fields": fields}


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"code {value[:8]}"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
