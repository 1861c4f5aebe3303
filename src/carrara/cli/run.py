"""`carrara run`: what was run, by whom, and how it ended; stop one, or go on with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import TerminalProgress, print_json, print_table, say
from carrara.core.errors import CarraraError

MEMORY = "memory (MB)"

app = typer.Typer(help="Runs: list, show, compare, logs, stop, resume.", no_args_is_help=True)

RunArgument = Annotated[str, typer.Argument(help="The run's id, or its first letters.")]


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="train, compute, ingest, … only.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The newest runs first."""
    with open_workspace(workspace) as ws:
        found = ws.runs(kind)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = [(one.id, one.kind, one.name, one.state, one.user, one.started_at, one.ended_at) for one in found]
    print_table(["run", "kind", "name", "state", "by", "from", "to"], rows)


@app.command()
def show(run: RunArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Everything about a run, and what it measures while it runs."""
    with open_workspace(workspace) as ws:
        found = ws.run(run)
        metrics, made, steps = ws.run_metrics(found.id), ws.made_by(found.id), ws.run_steps(found.id)
    if as_json:
        slowest = metrics.slowest()
        told = {"metrics": metrics, "slowest": asdict(slowest) if slowest else None, "made": made}
        print_json({**found.as_dict(), **told, "steps": steps})
        return
    for name, value in found.as_dict().items():
        if name != "parameters" and value is not None:
            say(f"  {name:<12}{value}")
    for address in made:
        say(f"  {'made':<12}{address}")
    if found.state == "lost":
        say("  Its process was killed from outside, by somebody or by the system for want of memory.")
    for done in steps:
        days = done.get("analyses")
        of = f", transforms from {days['days']:,} days, of which {len(days['read']):,} were read" if days else ""
        say(f"  {'did':<12}{done['name']} in {done['seconds']:.1f} s{of}")
    for name, values in metrics.items():
        if name == MEMORY:
            say(f"  {name:<12}{max(one for _, one in values):,.0f} at most")
            continue
        step, value = values[-1]
        best = min(one for _, one in values)
        say(f"  {name:<19} {value:.5g} after {step:,} rounds, {best:.5g} at best")
    if (slowest := metrics.slowest()) is not None:
        say(f"  {slowest}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more, by id or its first letters.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Runs side by side: in which parameters they differ, and what each measured last."""
    from carrara.pipelines.run_comparison import compare_runs

    with open_workspace(workspace) as ws:
        found = list({one.id: one for one in (ws.run(run) for run in runs)}.values())
        if len(found) < 2:
            raise CarraraError("runs are compared two or more at a time", hint="carrara run list shows them.")
        compared = compare_runs(found, {one.id: ws.run_metrics(one.id) for one in found})
    if as_json:
        print_json({"runs": [one.as_dict() for one in found], **compared})
        return
    print_table(
        ["run", "kind", "name", "state", "from"], [(r.id, r.kind, r.name, r.state, r.started_at) for r in found]
    )
    heads = [one.id[:13] for one in found]
    differing = [one for one in compared["parameters"] if any(value != one["values"][0] for value in one["values"])]
    say()
    print_table(["parameter", *heads], [(one["parameter"], *map(_cell, one["values"])) for one in differing])
    say()
    print_table(["metric", *heads], [(one["metric"], *one["values"]) for one in compared["metrics"]])


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, dict | list) else value


@app.command()
def logs(run: RunArgument, workspace: WorkspaceOption = HERE) -> None:
    """What a training said, and the traceback of how it failed."""
    with open_workspace(workspace) as ws:
        say(ws.run_log(run).rstrip())


@app.command()
def stop(run: RunArgument, workspace: WorkspaceOption = HERE) -> None:
    """Ask a run of this machine to stop; what it has done so far is kept."""
    with open_workspace(workspace) as ws:
        say(f"asked {ws.stop(run).id} to stop")


@app.command()
def resume(run: RunArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Go on with a training that was stopped, or killed, or failed."""
    from carrara.core.processes import stoppable

    with open_workspace(workspace) as ws, stoppable():
        trained = ws.resume(run, progress=TerminalProgress(quiet=as_json))
        print_json(trained.version.as_dict()) if as_json else say(f"{trained.version} registered")
