"""Old predictions: which rows of a log nobody needs any more, by whole windows of the model's monitor.

Rows go by windows and never in part: a window that lost some of its predictions would look like one that had fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from carrara.core.clock import duration, microseconds
from carrara.core.columns import UTC_TIME
from carrara.metadata.monitor_windows import RecordedWindow, list_windows
from carrara.metadata.references import deleted_addresses
from carrara.models.registry import KIND
from carrara.monitoring.monitor import Monitor, window_of
from carrara.monitoring.prediction_log import log_table, scan_log
from carrara.monitoring.run import SO_FAR
from carrara.monitoring.sampling import SAMPLED
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class OldPredictions:
    """How many rows of a log may go, the SQL that picks them, and how many as old stay, by the reason."""

    rows: int
    where: str
    before: datetime
    stay: Mapping[str, int]


def find_old_predictions(stores: Stores, monitor: Monitor, after: timedelta) -> OldPredictions:
    """The predictions of windows that ended so long ago, were logged so long ago, and are settled."""
    before, read_from = stores.clock() - after, still_read(stores, monitor)
    computed = {
        (one.key.version, one.key.start): one
        for one in list_windows(stores.metadata, monitor.name)
        if one.key.end - one.key.start == monitor.length and _is_settled(one)
    }
    deleted = set(deleted_addresses(stores.metadata))
    why: dict[datetime, str] = {}
    rows: Counter[datetime] = Counter()
    for start, version, count, fair, logged_at in _windows(stores, monitor):
        rows[start] += count
        known = _has_seen(computed.get((version, start)), fair, logged_at)
        gone = f"{KIND}:{monitor.name}@{version}" in deleted
        needed = read_from is not None and start >= read_from and not known and not gone
        why[start] = why.get(start) or _why_they_stay(monitor, stores.clock(), before, start, logged_at, needed)
    old = [start for start in sorted(rows) if start + monitor.length <= before]
    stay: Counter[str] = Counter()
    for start in old:
        if why[start]:
            stay[why[start]] += rows[start]
    going = [start for start in old if not why[start]]
    ranges = _ranges(old, set(going), monitor.length)
    return OldPredictions(sum(rows[start] for start in going), _sql(ranges, before), before, stay)


def still_read(stores: Stores, monitor: Monitor) -> datetime | None:
    """From when on the monitor reads a model's predictions, and may compute their windows again; None without any."""
    if not stores.lake.exists(log_table(monitor.name)):
        return None
    newest = scan_log(stores, monitor.name).select(pl.col("event_time").max()).collect().item()
    if newest is None:
        return None
    return window_of(min(newest, stores.clock()) - duration(monitor.keep), monitor.length)


def _windows(stores: Stores, monitor: Monitor) -> Iterator[tuple[datetime, int, int, int, datetime]]:
    """Of each window and version: when it begins, how many rows it has, how many of them count, and when the last was
    logged."""
    size, first = microseconds(monitor.length), microseconds(window_of(stores.clock(), monitor.length))
    place = (pl.col("event_time").dt.timestamp("us") - first) // size * size + first
    counted = (
        scan_log(stores, monitor.name)
        .group_by(place.cast(UTC_TIME).alias("start"), "version")
        .agg(pl.len(), (pl.col(SAMPLED) == "rate").sum().alias("fair"), pl.col("logged_at").max())
    )
    yield from counted.collect(engine="streaming").drop_nulls("start").sort("start", "version").iter_rows()


def _has_seen(window: RecordedWindow | None, fair: int, logged_at: datetime) -> bool:
    """Whether a window was computed from all that is logged of it: by the times; or, where a clock was replayed, which
    is behind the one that stamps the log, by how many they are."""
    if window is None or window.computed_at is None:
        return False
    return window.computed_at >= logged_at or window.predictions == fair


def _is_settled(window: RecordedWindow) -> bool:
    return window.state == "complete" and not window.inputs.endswith(SO_FAR)


def _why_they_stay(
    monitor: Monitor, now: datetime, before: datetime, start: datetime, logged_at: datetime, needed: bool
) -> str:
    if start + monitor.length > now - duration(monitor.keep):
        return f"their outcomes may come late: the monitor waits {monitor.keep} for them"
    if logged_at >= before:
        return "their window has some that were logged since"
    return "their window is not computed yet: carrara monitor run" if needed else ""


def _ranges(old: list[datetime], going: set[datetime], length: timedelta) -> list[tuple[datetime, datetime]]:
    """Windows that go, those after one another together: few ranges, however many windows."""
    found: list[tuple[datetime, datetime]] = []
    joined = False
    for start in old:
        if start in going:
            found[-1:] = [(found[-1][0], start + length)] if joined else [*found[-1:], (start, start + length)]
        joined = start in going
    return found


def _sql(ranges: list[tuple[datetime, datetime]], before: datetime) -> str:
    spans = " OR ".join(f"(event_time >= '{a.isoformat()}' AND event_time < '{b.isoformat()}')" for a, b in ranges)
    # One that is logged meanwhile was not looked at.
    return f"logged_at < '{before.isoformat()}' AND ({spans})"
