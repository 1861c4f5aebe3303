"""`carrara forecast`: the next values of a series, by its key."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table


def forecast(
    model: Annotated[str, typer.Argument(help="NAME (the champion), NAME@3 or NAME@ALIAS.")],
    given: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="The series' key, and other fields.")],
    steps: Annotated[int, typer.Option(min=1, help="How many steps ahead.")] = 1,
    at: Annotated[str | None, typer.Option(help="As of which time; by default now.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Forecast the next values of one series, from its online features."""
    entity: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{one}' is no KEY=VALUE", param_hint="KEY=VALUE")
        entity[name] = value
    if at is not None:
        entity["event_time"] = at
    with open_workspace(workspace) as ws:
        found = ws.forecast(model, [entity], steps=steps)
    if as_json:
        print_json({"model": found.model, "forecasts": found.rows.to_dicts()})
        return
    print_table(found.rows.columns, found.rows.rows())
