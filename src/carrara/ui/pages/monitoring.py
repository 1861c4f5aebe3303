"""Monitoring: alerts, live quality beside the evaluation's, drift by feature and window, the newest predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from carrara.core.drawings import curves
from carrara.metadata.alerts import list_alerts, list_silences
from carrara.metadata.monitor_windows import windows_by_version
from carrara.metadata.versions import newest_of_each
from carrara.models.registry import KIND, ModelVersion
from carrara.monitoring.live import Window
from carrara.monitoring.notebook import PSI_MUCH, PSI_SOME, drift_rows, newest_estimate, psi_look, quality_points
from carrara.monitoring.prediction_log import log_table
from carrara.monitoring.sampling import SAMPLED
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged
from carrara.ui.pages.models import resolve_version

_SECONDS = 10.0
_MOST_FEATURES = 25
_MOST_WINDOWS = 16
_NEWEST, _TAIL_ROWS = 20, 5_000
_MOST_MODELS = 2_000
_OF_THE_LOG = ("version", "arm", "shadow", "endpoint", "latency_seconds", "day")


def index(desk: Desk, asked: Asked) -> Page:
    """The versions whose windows are computed, the models that are logged only, and every alert that is open."""
    known = desk.kept("versions", _SECONDS, lambda: _known(desk))
    found = [one for one in known if (asked.get("q") or "") in one["model"]]
    data = {
        "versions": found[asked.offset : asked.offset + PAGE_ROWS],
        "alerts": [one.as_dict() for one in list_alerts(desk.workspace.stores.metadata, open_only=True)[:PAGE_ROWS]],
        **paged(asked, len(found)),
    }
    return Page("monitoring.html.j2", "Monitoring", data, live=True)


def show(desk: Desk, asked: Asked) -> Page:
    """What is recorded of a version's windows; nothing is computed here."""
    found = resolve_version(desk, asked)
    report = desk.kept(("monitor", found.manifest), 5.0, lambda: desk.workspace.monitoring.recorded(str(found)))
    asked_in = [window for window in report.windows if window.computed_at is not None or window.predictions]
    windows = asked_in[-_MOST_WINDOWS:]
    newest = desk.kept(("newest", found.manifest), 10.0, lambda: newest_predictions(desk, found, windows))
    silences = list_silences(desk.workspace.stores.metadata, found.model, asked.at)
    told = ("predictions", "outcomes", "metrics", "evaluation", "alerts", "rules", "losses")
    whole = report.as_dict()
    data = {
        "model": found.model,
        "version": found.version,
        **{name: whole[name] for name in told},
        "windows": [window.as_dict() for window in windows],
        "computed_at": max((w.computed_at for w in report.windows if w.computed_at), default=None),
        "without_predictions": sum(window.state == "no predictions" for window in report.windows),
        "silences": [one.as_dict() for one in silences],
        "newest": newest,
    }
    drawn = {
        "qualities": {name: _quality(windows, name, one["value"]) for name, one in report.evaluation.items()},
        "estimate": newest_estimate(windows),
        "drift": drift_rows(windows)[:_MOST_FEATURES],
        "some": PSI_SOME,
        "much": PSI_MUCH,
        "psi_look": psi_look,
        "named": str(found),
    }
    return Page("monitor.html.j2", f"{found} in production", data, drawn)


def newest_predictions(desk: Desk, found: ModelVersion, windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Predictions of a version that came last: id, time, what was asked, and what was answered.

    They are looked for in the end of the log; of a version that answers no more, some of its newest window.
    """
    lake, table = desk.workspace.stores.lake, log_table(found.model)
    if not lake.exists(table):
        return []
    of_version = pl.col("version") == found.version
    newest = lake.tail(table, _TAIL_ROWS).filter(of_version).sort("logged_at", descending=True).head(_NEWEST).collect()
    if newest.is_empty() and windows:
        then = pl.col("event_time").is_between(windows[-1].start, windows[-1].end, closed="left")
        newest = lake.scan(table).filter(of_version & then).head(_NEWEST).collect()
    first, hidden = ("prediction_id", "event_time", "logged_at"), (*_OF_THE_LOG, SAMPLED)
    others = [n for n in newest.columns if ":" not in n and not n.startswith("_") and n not in (*first, *hidden)]
    return newest.select(*first, *others).to_dicts()


def _quality(windows: Sequence[Window], name: str, expected: float | None) -> Any:
    return curves(quality_points(windows, name, expected), width=300, height=90, said=f"{name} by window")


def _known(desk: Desk) -> list[dict[str, Any]]:
    """What is computed of every version; then the models whose predictions nobody has looked at yet."""
    stores = desk.workspace.stores
    computed = [vars(one) for one in windows_by_version(stores.metadata)]
    models = {one["model"] for one in computed}
    others = [
        {"model": one.name, "version": one.version, "predictions": None, "outcomes": None, "computed_at": None}
        for one, _ in newest_of_each(stores.metadata, KIND, limit=_MOST_MODELS)
        if one.name not in models and stores.lake.exists(log_table(one.name))
    ]
    return computed + [{**one, "start": None, "end": None} for one in others]
