"""Monitoring: live quality beside the evaluation's, drift by feature and window, and the newest predictions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from carrara.core.clock import duration
from carrara.metadata.versions import newest_of_each
from carrara.models.registry import KIND
from carrara.monitoring.live import MonitorReport
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
    logged = desk.kept("logged models", _SECONDS, lambda: set(_logged(desk)))
    found = sorted(name for name in logged if (asked.get("q") or "") in name)
    shown = found[asked.offset : asked.offset + PAGE_ROWS]
    rows = [{"model": name, "versions": _counts(desk, name)} for name in shown]
    return Page("monitoring.html.j2", "Monitoring", {"models": rows, **paged(asked, len(found))})


def show(desk: Desk, asked: Asked) -> Page:
    found = resolve_version(desk, asked)
    length = duration(asked.get("window") or "7d")
    key = ("monitor", found.manifest, length)
    report = desk.kept(
        key, _SECONDS, lambda: desk.workspace.monitor(str(found), window=max(length, timedelta(hours=1)))
    )
    data = {
        "model": found.model,
        "version": found.version,
        "window": asked.get("window") or "7d",
        **{name: value for name, value in report.as_dict().items() if name not in ("model", "version", "windows")},
        "windows": [window.as_dict() for window in report.windows[-_MOST_WINDOWS:]],
        "newest": desk.kept(
            ("newest", found.manifest), 10.0, lambda: newest_predictions(desk, found.model, found.version)
        ),
    }
    drawn = {
        "qualities": {name: _quality(report, name) for name in report.evaluation},
        "drift": _drift(report),
        "some": PSI_SOME,
        "much": PSI_MUCH,
        "named": str(found),
    }
    return Page("monitor.html.j2", f"{found} in production", data, drawn)


def newest_predictions(desk: Desk, model: str, version: int) -> list[dict[str, Any]]:
    """The last predictions of a version: id, time, and what was answered."""
    rows = desk.workspace.stores.lake.scan(log_table(model)).filter(pl.col("version") == version)
    kept = ["prediction_id", "event_time", "logged_at"]
    outputs = [name for name in rows.collect_schema() if ":" not in name and name not in (*kept, "version")]
    return rows.select(*kept, *outputs).sort("logged_at", descending=True).head(_NEWEST).collect().to_dicts()


def _quality(report: MonitorReport, name: str) -> Any:
    """One metric by window, with the evaluation's value as a second line."""
    expected = report.evaluation[name]["value"]
    shown = report.windows[-_MOST_WINDOWS:]
    live = [(w.start, (w.metrics or {}).get(name, {}).get("value")) for w in shown]
    ends = [(w.start, expected) for w in (shown[0], shown[-1])] if len(shown) > 1 else []
    return curves({"live": live, "evaluation": ends}, width=300, height=90, said=f"{name} by window")


def _drift(report: MonitorReport) -> list[dict[str, Any]]:
    """The PSI of each feature in each window, those that drifted most first."""
    windows = report.windows[-_MOST_WINDOWS:]
    found: dict[str, list[float | None]] = {}
    for place, window in enumerate(windows):
        for one in window.drift:
            found.setdefault(one["feature"], [None] * len(windows))[place] = one["psi"]
    rows: list[dict[str, Any]] = [
        {"feature": name, "psi": values, "most": max(v or 0.0 for v in values)} for name, values in found.items()
    ]
    return sorted(rows, key=lambda row: -row["most"])[:_MOST_FEATURES]


def _logged(desk: Desk) -> list[str]:
    """The models whose predictions are logged, among those of the registry."""
    lake, metadata = desk.workspace.stores.lake, desk.workspace.stores.metadata
    return [
        found.name for found, _ in newest_of_each(metadata, KIND, limit=2_000) if lake.exists(log_table(found.name))
    ]


def _counts(desk: Desk, model: str) -> list[dict[str, Any]]:
    """How many predictions of each version are logged, and from when to when."""

    def look() -> list[dict[str, Any]]:
        rows = desk.workspace.stores.lake.scan(log_table(model))
        time = pl.col("event_time")
        counted = rows.group_by("version").agg(predictions=pl.len(), first=time.min(), last=time.max())
        return counted.sort("version", descending=True).collect().to_dicts()

    return desk.kept(("counts", model), _SECONDS, look)
