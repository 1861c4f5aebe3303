"""`carrara scheduler`: what has a schedule is done when it is due."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.clock import long_text

if TYPE_CHECKING:
    from carrara.pipelines.scheduler import Scheduled


def scheduler(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end; for a cron of one's own.")] = False,
    health: Annotated[
        bool,
        typer.Option(
            "--health", help="Say how every schedule stands, and end; exit code 3 where one is late or fails."
        ),
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", help="Show Prometheus this process's metrics on 127.0.0.1.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Bring what has a schedule up to date when it is due, until told to stop; missed intervals are caught up.

    Any number of schedulers may run on one metadata store: an interval is done by one of them.
    """
    if health:
        _tell_health(workspace, as_json=as_json)
        return
    failed = False

    def told_of(done: Scheduled) -> None:
        nonlocal failed
        failed |= done.error is not None
        print_json(vars(done)) if as_json else say(_line(done))

    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, addr="127.0.0.1")
    with open_workspace(workspace) as ws:
        if once:
            for done in ws.run_due():
                told_of(done)
            if failed:
                raise typer.Exit(1)
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if not as_json:
            say("scheduler: running. Stop with Ctrl-C.")
        ws.run_scheduler(stop, told_of)


def _tell_health(workspace: Path, *, as_json: bool) -> None:
    with open_workspace(workspace) as ws:
        found, now = ws.schedule_health(), ws.clock()
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        print_table(
            ["what", "name", "schedule", "health", "due for", "due", "error"],
            [
                (
                    *(one.kind, one.name, one.schedule, one.health),
                    long_text((now - one.due_since).total_seconds()) if one.due_since else "-",
                    one.due,
                    one.error or "",
                )
                for one in found
            ],
        )
    if any(one.is_red for one in found):
        raise typer.Exit(3)


def _line(done: Scheduled) -> str:
    missed = f", {len(done.moments)} intervals" if len(done.moments) > 1 else ""
    ended = f"failed: {done.error}" if done.error else done.said or "up to date"
    return f"  {done.name:<24} {done.moments[-1]:%Y-%m-%d %H:%M}{missed}   {ended}"
