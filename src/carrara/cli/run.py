"""`carrara run`: what was run, by whom, and how it ended; stop one, or go on with it."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import TerminalProgress, print_json, print_table, say

MEMORY = "memory (MB)"

app = typer.Typer(help="Runs: list, show, logs, stop, resume.", no_args_is_help=True)

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
        metrics = ws.run_metrics(found.id)
    if as_json:
        print_json({**found.as_dict(), "metrics": metrics})
        return
    for name, value in found.as_dict().items():
        if name != "parameters" and value is not None:
            say(f"  {name:<12}{value}")
    if found.state == "lost":
        say("  Its process was killed from outside, by somebody or by the system for want of memory.")
    for name, values in metrics.items():
        if name == MEMORY:
            say(f"  {name:<12}{max(one for _, one in values):,.0f} at most")
            continue
        step, value = values[-1]
        best = min(one for _, one in values)
        say(f"  {name:<12}{value:.5g} after {step:,} rounds, {best:.5g} at best")


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
