"""`carrara feature`: feature views, their tables and their online rows."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli import feature_import
from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace, typed_address
from carrara.cli.output import print_json, print_table, say
from carrara.core.clock import parse_time

if TYPE_CHECKING:
    from carrara.features.catalogue import CatalogueEntry
    from carrara.features.streams.run import Streamed

app = typer.Typer(help="Feature views: list, search, compute, materialise, push, import.", no_args_is_help=True)
app.add_typer(feature_import.app, name="import")

_MOST_SHOWN = 20

EntityOption = Annotated[str | None, typer.Option(help="Of this entity only.")]
OwnerOption = Annotated[str | None, typer.Option(help="Of this owner only.")]
TagOption = Annotated[str | None, typer.Option(help="With this tag only.")]
PiiOption = Annotated[bool | None, typer.Option("--pii/--no-pii", help="What tells of a person, or what does not.")]
ViewsArgument = Annotated[list[str] | None, typer.Argument(help="Feature views; by default all.")]


@app.command("list")
def list_(
    entity: EntityOption = None,
    owner: OwnerOption = None,
    tag: TagOption = None,
    pii: PiiOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Every declared feature."""
    with open_workspace(workspace) as ws:
        _print_entries(ws.features.search(entity=entity, owner=owner, tag=tag, pii=pii), as_json)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words of the name, the description, the entity, the owner.")],
    entity: EntityOption = None,
    owner: OwnerOption = None,
    tag: TagOption = None,
    pii: PiiOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The features that hold every word, the best first."""
    with open_workspace(workspace) as ws:
        _print_entries(ws.features.search(text, entity=entity, owner=owner, tag=tag, pii=pii), as_json)


@app.command()
def show(
    feature: Annotated[str, typer.Argument(help="As VIEW:FEATURE.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """One feature: what is declared of it, what its table holds, which models read it."""
    with open_workspace(workspace) as ws:
        entry = ws.features.show(feature)
        if as_json:
            print_json(entry.as_dict())
            return
        say(f"{entry.feature}   {entry.type}, {entry.kind}")
        for name in ("description", "unit", "owner", "entity", "source", "ttl", "schedule"):
            if getattr(entry, name):
                say(f"  {name:<12} {getattr(entry, name)}")
        if entry.tags or entry.pii:
            say(f"  tags         {', '.join([*entry.tags, *(['tells of a person'] if entry.pii else [])])}")
        if entry.computed_at is None:
            say("  computed     not as it is defined now")
        else:
            say(f"  computed     {entry.computed_at:%Y-%m-%d %H:%M}, {entry.rows:,} rows")
        for name, value in (entry.statistics or {}).items():
            if name in ("nulls", "distinct", "min", "mean", "std", "max"):
                say(f"  {name:<12} {value}")
        say(f"  models       {', '.join(entry.models) or 'none'}")


@app.command()
def suggest(
    label: Annotated[str, typer.Option(help="As DATASET:COLUMN.")],
    time: Annotated[str | None, typer.Option(help="When a row is predicted; a model with this label knows.")] = None,
    most: Annotated[int, typer.Option(help="How many to choose.")] = 20,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Which of all features tell of a label, and do not repeat each other."""
    with open_workspace(workspace) as ws:
        found = ws.features.suggest(label, time=time, most=most)
        if as_json:
            print_json([one.as_dict() for one in found])
            return
        print_table(
            ["feature", "relevance", "redundancy", "score"],
            [(one.feature, one.relevance, one.redundancy, one.score) for one in found],
        )


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


@app.command()
def status(views: ViewsArgument = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """How fresh views are online, and what their schedules did and will do."""
    with open_workspace(workspace) as ws:
        found = ws.features.status(*(views or ()))
        if as_json:
            print_json([one.as_dict() for one in found])
            return
        print_table(
            ["view", "state", "rows", "computed", "online until", "schedule", "next run", "due", "last run"],
            [
                (
                    s.view,
                    s.state,
                    s.rows,
                    s.computed_at,
                    s.online_until,
                    s.schedule,
                    s.next_run,
                    s.intervals_due,
                    s.last_run,
                )
                for s in found
            ],
        )
        for one in found:
            if one.error:
                say(f"{one.view}: {one.error}")


@app.command()
def verify(views: ViewsArgument = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Whether what is online is what the tables say, entity by entity; exit code 3 where it is not."""
    with open_workspace(workspace) as ws:
        found = ws.features.verify(*(views or ()))
        wrong = [one for view in found for one in view.mismatches]
        if as_json:
            print_json([{**vars(view), "mismatches": [vars(one) for one in view.mismatches]} for view in found])
        else:
            for view in found:
                say(f"  {view.view:<24} {view.entities:>8,} entities, {len(view.mismatches):,} values differ")
            for one in wrong[:_MOST_SHOWN]:
                say(f"    {one.feature} of {one.key}: {one.online} online, {one.expected} expected")
    if wrong:
        raise typer.Exit(3)


@app.command()
def join(
    features: Annotated[list[str], typer.Argument(help="A feature service, or references: view, view:feature.")],
    labels: Annotated[str, typer.Option(help="A file, or the name of a dataset: keys and times.")],
    time: Annotated[str, typer.Option(help="The column that says as of when.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV or Parquet.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Labels with features as they were known at each row's time."""
    with open_workspace(workspace) as ws:
        known = labels in ws.definitions.of_kind("dataset")
        found = ws.features.join(features, labels if known else typed_address(labels), time=time)
        found.write_parquet(output) if output.suffix == ".parquet" else found.write_csv(output)
        if as_json:
            print_json({"rows": found.height, "columns": found.columns, "output": str(output)})
            return
        say(f"{found.height:,} rows with {found.width} columns in {output}")


@app.command()
def push(
    view: Annotated[str, typer.Argument(help="The feature view.")],
    data: Annotated[str, typer.Argument(help="A file with its rows: CSV, Parquet, JSON lines, …; - for JSON lines.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write rows of a view, known from now on, offline and online at once."""
    with open_workspace(workspace) as ws:
        rows = [json.loads(line) for line in sys.stdin if line.strip()] if data == "-" else typed_address(data)
        done = ws.features.push(view, rows)
        if as_json:
            print_json(vars(done))
            return
        say(f"  {done.view:<24} {done.rows:>8,} rows pushed, {done.entities:,} entities changed online")


def _print_entries(entries: list[CatalogueEntry], as_json: bool) -> None:
    if as_json:
        print_json([entry.as_dict() for entry in entries])
        return
    print_table(
        ["feature", "type", "entity", "owner", "computed", "models", "description"],
        [(e.feature, e.type, e.entity, e.owner, e.computed_at, len(e.models), e.description) for e in entries],
    )


@app.command()
def stream(
    view: Annotated[str, typer.Argument(help="A feature view that declares a stream.")],
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End where the stream ends now.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Read a view's stream into it, offline and online, until told to stop; it goes on where it stopped."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())

    def told_of(done: Streamed) -> None:
        if as_json:
            print_json(vars(done))
            return
        rejected = f", {done.rejected:,} messages to the dead letters" if done.rejected else ""
        say(f"  {done.view:<24} {done.rows:>8,} rows, {done.entities:,} entities changed online{rejected}")

    with open_workspace(workspace) as ws:
        ws.features.stream(view, told, told_of, until_empty=until_empty)


@app.command("dead-letters")
def dead_letters(
    view: Annotated[str, typer.Argument(help="The feature view.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The messages of a view's stream that are no rows of it, with the reasons."""
    with open_workspace(workspace) as ws:
        found = ws.features.dead_letters(view).to_dicts()
        letters = [{**one, "payload": one["payload"].decode(errors="replace")} for one in found]
        if as_json:
            print_json(letters)
            return
        print_table(
            ["at", "origin", "error", "payload"],
            [[one[c] for c in ("at", "origin", "error", "payload")] for one in letters],
        )
