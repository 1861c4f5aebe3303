"""Runs a monitor: finds which windows of a version have changed since they were computed, computes each once, tells.

A window is computed from its logged predictions and the outcomes that are known of them. Both are counted and hashed;
a window for which that is no longer what it was computed from is computed again, however late the change; and so is
one whose time has ended since, because only then alerts are judged by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from carrara.core.clock import duration
from carrara.core.digests import digest_data
from carrara.core.errors import DataError
from carrara.core.identity import new_id
from carrara.metadata.alerts import AlertState
from carrara.metadata.monitor_windows import (
    SPAN,
    RecordedWindow,
    WindowKey,
    claim_window,
    finish_window,
    list_windows,
    record_span,
)
from carrara.metadata.prediction_losses import list_losses
from carrara.models.registry import ModelVersion
from carrara.models.signature import QUERY_ID
from carrara.monitoring.alert import Alert
from carrara.monitoring.alerting import Judged, move_alerts
from carrara.monitoring.judge import Judge
from carrara.monitoring.monitor import Monitor, window_of
from carrara.monitoring.outcomes import KNOWN_AT, LABEL, OutcomeRule, join_outcomes
from carrara.monitoring.prediction_log import journals, log_table, once, scan_log
from carrara.monitoring.profile import Profile
from carrara.monitoring.rule import Facts
from carrara.monitoring.sampling import SAMPLED
from carrara.monitoring.shipping import ship_abandoned
from carrara.monitoring.window import Before, compute_window
from carrara.storage.stores import Stores

LEASE = timedelta(minutes=30)
SO_FAR = " so far"
"""How the inputs of a window end that was computed before its time was over."""
_WEEK = timedelta(days=7)
_DONE = ("complete", SPAN)


@dataclass(frozen=True)
class Ran:
    """What a run of a monitor did for one version: the windows that it computed, and the alerts that began to fire."""

    version: str
    computed: tuple[WindowKey, ...]
    failed: tuple[tuple[WindowKey, str], ...]
    begun: tuple[tuple[Alert, AlertState], ...]


def run_monitor(stores: Stores, monitor: Monitor, version: ModelVersion, *, alerts: bool = True) -> Ran:
    """Compute what has changed of a version's windows, and bring its alerts up to date.

    Any number may run at once: each window is computed by one of them. Raises DataError when nothing was predicted yet:
    a version without predictions is not healthy, it is not known.
    """
    ship_abandoned(stores, journals(stores))
    index = _index(stores, monitor, version)
    recorded = {one.key: one for one in list_windows(stores.metadata, version.model, version.version)}
    judge, owner = Judge.of(stores, version, monitor.metrics), new_id()
    computed, failed = [], []
    try:
        for key, rows in _windows(index, monitor.length, version):
            inputs = _digest(rows, monitor, version) + ("" if key.end <= stores.clock() else SO_FAR)
            known = recorded.get(key)
            if known is not None and known.state == "complete" and known.inputs == inputs:
                continue
            if not claim_window(stores.metadata, key, inputs, owner, stores.clock(), LEASE):
                continue
            try:
                _compute(judge, key, rows, owner)
                computed.append(key)
            except Exception as error:  # one window's failure is recorded, and stops no other
                failed.append((key, str(error)))
                said = f"{type(error).__name__}: {error}"
                finish_window(stores.metadata, key, owner, stores.clock(), error=said)
        if computed or _is_behind(recorded.values()):
            _span(judge, index, monitor.length, version)
    finally:
        judge.close()
    judged = read_judged(stores, version, monitor.length, closed_only=True)
    begun = move_alerts(stores, monitor, version.version, judged) if alerts else []
    return Ran(str(version), tuple(computed), tuple(failed), tuple(begun))


def versions_with_predictions(stores: Stores, model: str, since: datetime | None = None) -> list[int]:
    """Which versions of a model have logged predictions, oldest first."""
    if not stores.lake.exists(log_table(model)):
        return []
    rows = scan_log(stores, model, start=since)
    return sorted(rows.select("version").unique().collect()["version"].to_list())


def read_judged(stores: Stores, version: ModelVersion, length: timedelta, *, closed_only: bool) -> list[Judged]:
    """The windows of a version that are computed, oldest first, with the predictions that were lost in their time."""
    losses = list_losses(stores.metadata)
    found = []
    for one in list_windows(stores.metadata, version.model, version.version):
        if one.result is None or one.state == SPAN or one.key.end - one.key.start != length:
            continue
        if closed_only and one.key.end > stores.clock():
            continue
        lost = sum(loss.rows for loss in losses if loss.since < one.key.end and loss.until >= one.key.start)
        found.append(Judged(one.key.start, one.key.end, Facts(read_result(stores, one), lost)))
    return found


def read_result(stores: Stores, window: RecordedWindow) -> dict[str, Any]:
    """What was found of a window, as `compute_window` gave it."""
    assert window.result is not None
    result: dict[str, Any] = msgspec.json.decode(stores.artifacts.get(window.result, name="monitor window"))
    for name, value in (result.get("estimated") or {}).items():
        if not isinstance(value, dict):  # Of an earlier release: its estimates had no interval.
            result["estimated"][name] = {"value": value, "low": None, "high": None, "rows": result["predictions"]}
    return result


def no_predictions(version: ModelVersion) -> DataError:
    """A version that nobody asked is not healthy: it is not known."""
    return DataError(
        f"no prediction of {version} is logged yet", hint=f"carrara serve, or carrara predict {version.model}"
    )


def _index(stores: Stores, monitor: Monitor, version: ModelVersion) -> pl.DataFrame:
    """Every prediction of the version once, with what is known of it; without features."""
    if not stores.lake.exists(log_table(version.model)):
        raise no_predictions(version)
    rule, since = OutcomeRule.of(stores, version), _since(stores, monitor, version)
    rows = scan_log(stores, version.model, start=since).filter(pl.col("version") == version.version)
    there = rows.collect_schema().names()
    keys = [name for name in (*rule.keys, *rule.beside, QUERY_ID) if name in there]
    columns = dict.fromkeys(("prediction_id", "version", "event_time", "shadow", SAMPLED, *keys))
    index = once(rows.select(*columns)).collect()
    if index.is_empty():
        others = ", ".join(f"{version.model}@{number}" for number in versions_with_predictions(stores, version.model))
        raise DataError(f"no prediction of {version} is logged yet", hint=f"There are predictions of {others}.")
    return join_outcomes(stores, rule, index, slices=rule.beside)


def _since(stores: Stores, monitor: Monitor, version: ModelVersion) -> datetime | None:
    """Windows before this are settled: they are neither opened again nor read."""
    first = scan_log(stores, version.model).select(pl.col("event_time").max()).collect().item()
    newest = min(first, stores.clock()) if first is not None else stores.clock()
    return window_of(newest - duration(monitor.keep), monitor.length)


def _windows(index: pl.DataFrame, length: timedelta, version: ModelVersion) -> Iterator[tuple[WindowKey, pl.DataFrame]]:
    """The windows that have predictions, oldest first."""
    times = index["event_time"]
    first = times.min()
    assert isinstance(first, datetime)
    start = window_of(first, length)
    place = (times - start).dt.total_microseconds() // (length // timedelta(microseconds=1))
    parts = index.with_columns(place.alias("__place")).partition_by("__place", as_dict=True, include_key=False)
    for (number,), rows in sorted(parts.items()):
        begin = start + length * int(number)
        yield WindowKey(version.model, version.version, begin, begin + length), rows


def _digest(rows: pl.DataFrame, monitor: Monitor, version: ModelVersion) -> str:
    """What a window is computed from: which predictions, and what is known of them; in any order."""
    hashed = rows.select("prediction_id", "shadow", LABEL).hash_rows(seed=0)
    return digest_data([rows.height, int(hashed.sum()), list(monitor.metrics), str(version)])


def _compute(judge: Judge, key: WindowKey, index: pl.DataFrame, owner: str) -> None:
    stores, version = judge.stores, judge.version
    rows = scan_log(stores, key.model, start=key.start, end=key.end).filter(pl.col("version") == version.version)
    repeated = rows.select(pl.len()).collect().item() > index.height
    before = Before(_profile(stores, key, key.end - key.start), _profile(stores, key, _WEEK))
    slices = [name for name in judge.rule.beside if name in index.columns and name not in rows.collect_schema()]
    outcomes = index.select("prediction_id", LABEL, KNOWN_AT, *slices)
    result, profile = compute_window(judge, once(rows) if repeated else rows, outcomes, key.start, key.end, before)
    stored = stores.artifacts.put(msgspec.json.encode(result))
    kept = stores.artifacts.put(msgspec.msgpack.encode(profile.as_dict()))
    counts = {"predictions": result["predictions"], "outcomes": result["outcomes"]}
    finish_window(stores.metadata, key, owner, stores.clock(), result=stored, profile=kept, **counts)


def _profile(stores: Stores, key: WindowKey, back: timedelta) -> Profile | None:
    """The profile of the window that began so long before."""
    wanted = (key.start - back, key.end - back)
    for one in list_windows(stores.metadata, key.model, key.version):
        if (one.key.start, one.key.end) == wanted and one.profile is not None and one.state != SPAN:
            return Profile.from_dict(msgspec.msgpack.decode(stores.artifacts.get(one.profile, name="profile")))
    return None


def _is_behind(windows: Collection[RecordedWindow]) -> bool:
    """Whether windows were computed since what they are together was: by a monitor that was killed between the two."""
    times = {state: [one.computed_at for one in windows if one.state == state and one.computed_at] for state in _DONE}
    return bool(times["complete"]) and (not times[SPAN] or max(times[SPAN]) < max(times["complete"]))


def _span(judge: Judge, index: pl.DataFrame, length: timedelta, version: ModelVersion) -> None:
    """What all windows are together."""
    stores = judge.stores
    fair = index.filter((pl.col(SAMPLED) == "rate") & ~pl.col("shadow"))
    rows = scan_log(stores, version.model).filter(pl.col("version") == version.version)
    scores = rows.select("prediction_id", judge.output).unique("prediction_id").collect()
    known = fair.drop_nulls(LABEL).join(scores, on="prediction_id", how="inner")
    result = {
        "predictions": fair.height,
        "outcomes": known.height,
        "metrics": judge.metrics(known),
        "evaluation": judge.evaluation,
    }
    stored = stores.artifacts.put(msgspec.json.encode(result))
    first, last = index["event_time"].min(), index["event_time"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    key = WindowKey(version.model, version.version, window_of(first, length), last + timedelta(microseconds=1))
    counts = {"predictions": fair.height, "outcomes": known.height}
    record_span(stores.metadata, key, stores.clock(), result=stored, **counts)
