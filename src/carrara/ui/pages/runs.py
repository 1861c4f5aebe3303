"""Runs: all of them, one as it goes, and some side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from carrara.core.drawings import curves
from carrara.core.errors import CarraraError, NotFoundError
from carrara.metadata.lineage import made_by
from carrara.metadata.run_metrics import read_metrics
from carrara.metadata.runs import Run, count_runs, get_run, list_runs
from carrara.pipelines.run_comparison import compare_runs
from carrara.pipelines.run_log import read_log_of_run
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

KINDS = ("train", "ingest", "compute", "materialise", "schedule")
STATES = ("running", "complete", "failed", "stopped")
_MOST_LOG = 20_000
_MOST_COMPARED = 6
_MOST_POINTS = 400
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def index(desk: Desk, asked: Asked) -> Page:
    metadata = desk.workspace.stores.metadata
    filters = {name: asked.get(name) for name in ("kind", "name", "state")}
    found = list_runs(metadata, limit=PAGE_ROWS, offset=asked.offset, **filters)
    data = {"runs": [_told(run) for run in found], **paged(asked, count_runs(metadata, **filters))}
    return Page(
        "runs.html.j2", "Runs", data, {"filters": filters, "kinds": KINDS, "states": STATES}, live=asked.page == 1
    )


def show(desk: Desk, asked: Asked) -> Page:
    stores = desk.workspace.stores
    run = get_run(stores.metadata, asked["run"])
    metrics = read_metrics(stores.metadata, run.id)
    try:
        log = read_log_of_run(stores, run.id)[-_MOST_LOG:]
    except NotFoundError:
        log = ""
    data: dict[str, Any] = {
        "run": _told(run),
        "metrics": {name: [list(point) for point in thin(points)] for name, points in metrics.items()},
        "slowest": asdict(slowest) if (slowest := metrics.slowest()) else None,
        "log": log,
        "made": made_by(stores.metadata, run.id)[:20],
        "can_stop": run.state == "running" and run.process is not None and run.process.is_here,
        "can_resume": run.kind == "train" and run.state in ("failed", "stopped", "lost"),
    }
    charts = [
        curves({name: thin(points) for name, points in some.items()}, height=160, said=f"{', '.join(some)} by round")
        for some in metrics.together()
    ]
    title = f"{run.kind} {run.name}"
    said = _said(run.parameters)
    drawn = {"charts": charts, "slow": slowest, "definition": said.pop("definition", None), "said": said}
    return Page("run.html.j2", title, data, drawn, live=run.state == "running")


def compare(desk: Desk, asked: Asked) -> Page:
    metadata = desk.workspace.stores.metadata
    asked_for = list(dict.fromkeys(asked.all("run")))
    if len(asked_for) < 2:
        raise CarraraError("runs are compared two or more at a time", hint="Choose some in the list of runs.")
    found = [get_run(metadata, run_id) for run_id in asked_for[:_MOST_COMPARED]]
    measured = {run.id: read_metrics(metadata, run.id) for run in found}
    compared = compare_runs(found, measured)
    charts = {
        name: curves({f"{n + 1}": thin(measured[run.id].get(name, [])) for n, run in enumerate(found)}, height=160)
        for name in (one["metric"] for one in compared["metrics"])
    }
    data = {"runs": [_told(run) for run in found], **compared}
    return Page("run_compare.html.j2", "Runs side by side", data, {"charts": charts})


def _said(value: Any) -> Any:
    """What is given in parameters: nobody reads what is empty."""
    if not isinstance(value, dict):
        return value
    said = {name: _said(one) for name, one in value.items()}
    return {name: one for name, one in said.items() if one not in _NOTHING}


def thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most some hundred points, the last one among them: no screen shows more."""
    step = max(1, -(-len(points) // _MOST_POINTS))
    return [*points[:-1:step], *points[-1:]] if points else []


def _told(run: Run) -> dict[str, Any]:
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at is not None else None
    return {**run.as_dict(), "seconds": seconds}
