"""Monitoring: alerts, live quality beside the evaluation's, drift by feature and window, the newest predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from carrara.metadata.alerts import list_alerts, list_silences
from carrara.metadata.versions import newest_of_each
from carrara.models.registry import KIND
from carrara.monitoring.live import Window
from carrara.monitoring.prediction_log import log_table
from carrara.ui.desk import Desk
from carrara.ui.drawings import curves
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged
from carrara.ui.pages.models import resolve_version

_SECONDS = 60.0
_MOST_FEATURES = 25
_MOST_WINDOWS = 16
_NEWEST = 20
PSI_SOME, PSI_MUCH = 0.1, 0.25


def index(desk: Desk, asked: Asked) -> Page:
    """The models whose predictions are logged, and every alert that is open."""
    logged = desk.kept("logged models", _SECONDS, lambda: _logged(desk))
    found = sorted(name for name in logged if (asked.get("q") or "") in name)
    shown = found[asked.offset : asked.offset + PAGE_ROWS]
    data = {
        "models": [{"model": name, "versions": _counts(desk, name)} for name in shown],
        "alerts": [one.as_dict() for one in list_alerts(desk.workspace.stores.metadata, open_only=True)[:PAGE_ROWS]],
        **paged(asked, len(found)),
    }
    return Page("monitoring.html.j2", "Monitoring", data, live=True)


def show(desk: Desk, asked: Asked) -> Page:
    """What is recorded of a version's windows; nothing is computed here."""
    found = resolve_version(desk, asked)
    report = desk.kept(("monitor", found.manifest), 5.0, lambda: desk.workspace.monitoring.show(str(found)))
    asked_in = [window for window in report.windows if window.state != "no predictions"]
    windows = asked_in[-_MOST_WINDOWS:]
    newest = desk.kept(("newest", found.manifest), 10.0, lambda: newest_predictions(desk, found.model, found.version))
    silences = list_silences(desk.workspace.stores.metadata, found.model, asked.at)
    told = ("predictions", "outcomes", "metrics", "evaluation", "alerts", "rules", "losses")
    whole = report.as_dict()
    data = {
        "model": found.model,
        "version": found.version,
        **{name: whole[name] for name in told},
        "windows": [window.as_dict() for window in windows],
        "without_predictions": len(report.windows) - len(asked_in),
        "silences": [one.as_dict() for one in silences],
        "newest": newest,
    }
    drawn = {
        "qualities": {name: _quality(windows, name, one["value"]) for name, one in report.evaluation.items()},
        "drift": _drift(windows),
        "some": PSI_SOME,
        "much": PSI_MUCH,
        "named": str(found),
    }
    return Page("monitor.html.j2", f"{found} in production", data, drawn)


def newest_predictions(desk: Desk, model: str, version: int) -> list[dict[str, Any]]:
    """The last predictions of a version: id, time, what was asked, and what was answered."""
    rows = desk.workspace.stores.lake.scan(log_table(model)).filter(pl.col("version") == version)
    known = ("prediction_id", "event_time", "logged_at")
    hidden = ("version", "arm", "shadow", "endpoint", "latency_seconds", "sampled", "day")
    others = [n for n in rows.collect_schema() if ":" not in n and not n.startswith("_") and n not in (*known, *hidden)]
    return rows.select(*known, *others).sort("logged_at", descending=True).head(_NEWEST).collect().to_dicts()


def _quality(windows: Sequence[Window], name: str, expected: float | None) -> Any:
    """One metric by window, with the evaluation's value as a second line."""
    live = [(w.start, (w.metrics or {}).get(name, {}).get("value")) for w in windows]
    ends = [(w.start, expected) for w in (windows[0], windows[-1])] if len(windows) > 1 and expected is not None else []
    return curves({"live": live, "evaluation": ends}, width=300, height=90, said=f"{name} by window")


def _drift(windows: Sequence[Window]) -> list[dict[str, Any]]:
    """The PSI of each feature in each window; in the newest window's order: what changes the answers most first."""
    found: dict[str, list[float | None]] = {}
    for place, window in reversed(list(enumerate(windows))):
        for one in window.drift:
            found.setdefault(one["feature"], [None] * len(windows))[place] = one["psi"]
    return [{"feature": name, "psi": values} for name, values in found.items()][:_MOST_FEATURES]


def _logged(desk: Desk) -> list[str]:
    """The models whose predictions are logged, among those of the registry."""
    lake, metadata = desk.workspace.stores.lake, desk.workspace.stores.metadata
    known = [found.name for found, _ in newest_of_each(metadata, KIND, limit=2_000)]
    return [name for name in known if lake.exists(log_table(name))]


def _counts(desk: Desk, model: str) -> list[dict[str, Any]]:
    """How many predictions of each version are logged, and from when to when."""

    def look() -> list[dict[str, Any]]:
        rows = desk.workspace.stores.lake.scan(log_table(model))
        time = pl.col("event_time")
        counted = rows.group_by("version").agg(predictions=pl.len(), first=time.min(), last=time.max())
        return counted.sort("version", descending=True).collect().to_dicts()

    return desk.kept(("counts", model), _SECONDS, look)
