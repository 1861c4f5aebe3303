"""What is live, what is fresh, what is failing, what needs a decision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from carrara.core.errors import CarraraError
from carrara.metadata.alerts import list_alerts
from carrara.metadata.deployments import Deployment, current_deployments
from carrara.metadata.runs import list_runs
from carrara.metadata.versions import newest_of_each
from carrara.models.registry import KIND as MODEL
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, Page, address
from carrara.ui.pages.freshness import freshness

_MOST = 6
_LATELY = timedelta(days=7)


def overview(desk: Desk, asked: Asked) -> Page:
    metadata = desk.workspace.stores.metadata
    live = current_deployments(metadata)
    failed = [run for run in list_runs(metadata, state="failed", limit=_MOST) if run.started_at > asked.at - _LATELY]
    running = [run for run in list_runs(metadata, state="running", limit=20) if run.state == "running"]
    data: dict[str, Any] = {
        "live": [vars(one) for one in live[:50]],
        "alerts": [one.as_dict() for one in list_alerts(metadata, open_only=True)[:_MOST]],
        "decisions": _decisions(desk, live),
        "running": [run.as_dict() for run in running[:_MOST]],
        "failed": [run.as_dict() for run in failed],
        "latest": [run.as_dict() for run in list_runs(metadata, limit=_MOST)],
        **_fresh(desk),
    }
    return Page("overview.html.j2", "Overview", data, live=True)


def _fresh(desk: Desk) -> dict[str, Any]:
    try:
        views, problem = freshness(desk), None
    except CarraraError as error:
        views, problem = [], error.message
    counts = {state: sum(one.state == state for one in views) for state in ("fresh", "stale", "failed", "absent")}
    behind = [one for one in views if one.state in ("stale", "failed")]
    told = [{"view": v.view, "state": v.state, "online_until": v.online_until, "error": v.error} for v in behind]
    return {"views": counts, "behind": told[:_MOST], "problem": problem}


def _decisions(desk: Desk, live: list[Deployment]) -> list[dict[str, Any]]:
    """What waits for somebody: versions that passed and are not served, that failed a gate, data with anomalies."""
    metadata = desk.workspace.stores.metadata
    served = {(one.model, one.version) for one in live}
    endpoints = {one.model: one for one in live if one.role == "primary"}
    found: list[dict[str, Any]] = []
    for newest, _ in newest_of_each(metadata, MODEL, limit=20):
        name = f"{newest.name}@{newest.version}"
        where = address("models", newest.name, newest.version)
        if not newest.record["gates_passed"]:
            found.append({"state": "failed", "what": f"{name} failed a gate", "see": where, "at": newest.created_at})
        elif (newest.name, newest.version) not in served:
            now = endpoints.get(newest.name)
            what = f"{name} passed its gates" + (
                f"; {now.endpoint} serves {now.version}" if now else "; nothing serves it"
            )
            found.append({"state": "due", "what": what, "see": where, "at": newest.created_at})
    for dataset, _ in newest_of_each(metadata, "dataset", limit=20):
        wrong = dataset.record.get("anomalies") or []
        if wrong:
            what = f"{dataset.name}@{dataset.version} has {len(wrong)} {'anomaly' if len(wrong) == 1 else 'anomalies'}"
            see = address("datasets", dataset.name, dataset.version)
            found.append({"state": "warning", "what": what, "see": see, "at": dataset.created_at})
    return sorted(found, key=lambda one: one["at"], reverse=True)[:_MOST]
