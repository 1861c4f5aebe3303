"""`carrara feature`: feature views, their tables and their online rows."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.clock import parse_time

app = typer.Typer(help="Feature views: list, compute, materialise.", no_args_is_help=True)

ViewsArgument = Annotated[list[str] | None, typer.Argument(help="Feature views; by default all.")]


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Every declared feature."""
    with open_workspace(workspace) as ws:
        features = ws.features.all()
        if as_json:
            print_json(features)
            return
        print_table(["feature", "type", "entity", "description"], [tuple(feature.values()) for feature in features])


@app.command()
def compute(views: ViewsArgument = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Compute feature tables into the lake; what has not changed is reused."""
    with open_workspace(workspace) as ws:
        tables = ws.features.compute(*(views or ()))
        if as_json:
            print_json([{"view": t.view, "version": t.version, "rows": t.rows, "reused": t.reused} for t in tables])
            return
        for table in tables:
            say(f"  {table.view:<24} {table.rows:>10,} rows   {'unchanged' if table.reused else 'computed'}")


@app.command()
def materialise(
    views: ViewsArgument = None,
    until: Annotated[str | None, typer.Option(help="Up to this time; by default now.")] = None,
    rebuild: Annotated[bool, typer.Option(help="Start from nothing, as after a correction of old rows.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Bring the online store up to date with what became known since the last time."""
    with open_workspace(workspace) as ws:
        moment = parse_time(until) if until else None
        done = ws.features.materialise(*(views or ()), until=moment, rebuild=rebuild)
        if as_json:
            print_json([{"view": d.view, "entities": d.entities, "since": d.since, "until": d.until} for d in done])
            return
        for one in done:
            since = f"since {one.since:%Y-%m-%d %H:%M}" if one.since else "from the start"
            say(f"  {one.view:<24} {one.entities:>8,} entities written, {since}, until {one.until:%Y-%m-%d %H:%M}")


app.command("materialize", hidden=True)(materialise)
