"""`endpoint`, `predict`: what is served and how it does; a file of answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from carrara.monitoring.divergence import Divergence

app = typer.Typer(help="What is served, what is tried beside it, and what happened.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The endpoint.")]


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """What every endpoint serves now."""
    with open_workspace(workspace) as ws:
        served = list(ws.endpoints.list())
    if as_json:
        print_json(served)
        return
    rows = [(one.endpoint, one.address, one.role, one.deployed_by, one.started_at) for one in served]
    print_table(["endpoint", "version", "role", "by", "since"], rows)


@app.command()
def show(endpoint: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The versions of an endpoint, their parts of the traffic, and how they do."""
    with open_workspace(workspace) as ws:
        served = list(ws.endpoints.show(endpoint))
    if as_json:
        print_json(served)
        return
    columns = ["version", "role", "share", "requests", "failed", "refused", "no number", "p95 ms", "agreed"]
    rows = [
        (o.version, o.role, f"{o.share:.0%}", o.requests, o.failed, o.refused, o.not_finite, o.p95_ms, o.agreed)
        for o in served
    ]
    print_table(columns, rows)


@app.command()
def traffic(
    endpoint: NameArgument,
    since: Annotated[str, typer.Option(help="How far back: 1h, 1d, 7d.")] = "1d",
    parts: Annotated[int, typer.Option(help="Into how many stretches.", min=1, max=1_000)] = 12,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Requests, failures and latency over time, by version and arm."""
    with open_workspace(workspace) as ws:
        found = list(ws.endpoints.traffic(endpoint, since=since, parts=parts))
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    if not found:
        say(f"No server has answered for {endpoint} since then. Next: carrara serve")
        return
    rows = [(o.start, o.version, o.arm, o.requests, o.failed, o.refused, o.p50_ms, o.p95_ms) for o in found]
    print_table(["from", "version", "arm", "requests", "failed", "refused", "p50 ms", "p95 ms"], rows)


@app.command()
def history(endpoint: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """What happened to an endpoint, and why."""
    with open_workspace(workspace) as ws:
        events = list(ws.endpoints.history(endpoint))
    if as_json:
        print_json(events)
        return
    rows = [(one.at, one.kind, f"{one.model}@{one.version}", one.by, "; ".join(one.reasons)) for one in events]
    print_table(["at", "what", "version", "by", "why"], rows)


@app.command()
def end(endpoint: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Serve nothing under this name any more."""
    with open_workspace(workspace) as ws:
        ws.endpoints.end(endpoint)
    print_json({"ended": endpoint}) if as_json else say(f"{endpoint} is no longer served")


@app.command()
def divergence(
    endpoint: NameArgument,
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d.")] = "7d",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """How far the answers of its shadows are from those that were given."""
    with open_workspace(workspace) as ws:
        found = list(ws.endpoints.divergence(endpoint, since=since))
    if as_json:
        print_json([vars(one) for one in found])
        return
    for one in found:
        _show(one)
    if not found:
        say(f"{endpoint} has no shadow. Next: carrara deploy MODEL@VERSION --to {endpoint} --shadow")


def replay(
    address: Annotated[str, typer.Argument(help="The candidate: NAME@3, NAME@ALIAS, or NAME for the newest.")],
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d.")] = "7d",
    endpoint: Annotated[str, typer.Option(help="Only what this endpoint was asked.")] = "",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Put what was asked to a candidate, and compare with what was answered and what then happened."""
    with open_workspace(workspace) as ws:
        found = ws.endpoints.replay(address, since=since, endpoint=endpoint)
    if as_json:
        print_json(vars(found))
        return
    _show(found)
    say(f"Next: carrara deploy {found.candidate} --canary 10%")


def _show(found: Divergence) -> None:
    given = ", ".join(f"{version} ({count:,})" for version, count in found.given_by.items())
    say(f"{found.candidate} against {given}")
    rows: list[tuple[str, object, object]] = [
        ("rows", f"{found.rows:,}", ""),
        ("the same", f"{found.agreed:.2%}", ""),
        ("mean, as answered", found.mean_candidate, found.mean_given),
        *((f"apart, {name}", value, "") for name, value in found.difference.items()),
    ]
    if found.decided_otherwise is not None:
        rows.insert(2, ("decided otherwise", f"{found.decided_otherwise:.2%}", ""))
    for name, sides in found.metrics.items():
        rows.append((f"{name}, {found.outcomes:,} outcomes", _interval(sides["candidate"]), _interval(sides["given"])))
    print_table(["", "candidate", "as answered"], rows)


def _interval(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "–"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.4g}"
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def predict(
    model: Annotated[str, typer.Argument(help="NAME (the champion), NAME@3 or NAME@ALIAS.")],
    input: Annotated[
        Path | None, typer.Option("--input", "-i", help="CSV or Parquet: keys, request fields, event_time.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV or Parquet, with the predictions.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Instead of a file: a dataset's newest rows.")] = None,
    into: Annotated[str | None, typer.Option(help="The dataset that takes the predictions.")] = None,
    time: Annotated[str | None, typer.Option(help="The dataset's column of the rows' times.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Predict every row of a file, or of a dataset, by the offline features of each row's time."""
    with open_workspace(workspace) as ws:
        if dataset is not None and into is not None and input is output is None:
            made = ws.predict_dataset(model, dataset, into, time=time).version
            told = {"rows": made.rows, "dataset": made.name, "version": made.version}
            print_json(told) if as_json else say(f"{made.rows:,} predictions in {made.address}")
            return
        if input is None or output is None or dataset is not None or into is not None:
            raise typer.BadParameter("give --input and --output, or --dataset and --into")
        rows = ws.predict_batch(model, input, output)
    if as_json:
        print_json({"rows": rows, "output": str(output)})
        return
    say(f"{rows:,} predictions in {output}")
