"""Retention: what is older than `[retention]` says goes, except for what something still needs.

Each kind is planned first, so that a dry run and a real one say the same; a run that is killed is done by the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from carrara.core.config import RetentionSection
from carrara.core.definitions import Definitions
from carrara.core.failpoints import reach
from carrara.metadata.alerts import AlertState, Silence, list_alerts, list_silences
from carrara.metadata.audit import record
from carrara.metadata.monitor_windows import SPAN, RecordedWindow, WindowKey, delete_windows, list_windows
from carrara.metadata.references import named_runs
from carrara.metadata.runs import delete_runs, runs_before
from carrara.monitoring.old_predictions import find_old_predictions, still_read
from carrara.monitoring.prediction_log import log_table
from carrara.pipelines.monitor import monitor_of
from carrara.pipelines.run_log import delete_logs_of_no_run
from carrara.storage.stores import Stores

_WEEK = timedelta(days=7)
"""A window is compared with the one of a week before."""


@dataclass(frozen=True)
class Expired:
    """How many of one kind went, or would, and what stays although it is as old: how many, by the reason."""

    kind: str
    of: str
    count: int
    older_than: str
    stay: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "stay": dict(self.stay)}


def expire(
    stores: Stores, definitions: Definitions, retention: RetentionSection, *, dry_run: bool = False
) -> list[Expired]:
    """Delete what is older than its kind is kept and nothing needs; a kind that is not named is left alone."""
    found: list[Expired] = []
    for kind, of_kind in (("predictions", _predictions), ("windows", _windows), ("runs", _runs)):
        after = retention.of(kind)
        if after is not None:
            found += of_kind(stores, definitions, after, getattr(retention, kind), dry_run)
    return [one for one in found if one.count or one.stay]


def _predictions(
    stores: Stores, definitions: Definitions, after: timedelta, said: str, dry_run: bool
) -> Iterator[Expired]:
    for table in stores.lake.tables(log_table("").rstrip("/")):
        model = table.rpartition("/")[2]
        old = find_old_predictions(stores, monitor_of(definitions, model), after)
        if not dry_run:
            if old.rows:
                told = {"predictions": old.rows, "before": old.before.isoformat(), "older_than": said}
                # Before the deed: an entry of something that a crash has stopped is better than a deed without one.
                with stores.metadata.begin() as connection:
                    record(connection, "expire predictions", f"model:{model}", **told)
                reach("retention.before-predictions")
                stores.lake.delete_rows(table, old.where)
            stores.lake.remove_old_files(table)
        yield Expired("predictions", model, old.rows, said, old.stay)


def _windows(stores: Stores, definitions: Definitions, after: timedelta, said: str, dry_run: bool) -> Iterator[Expired]:
    before, now = stores.clock() - after, stores.clock()
    alerts = list_alerts(stores.metadata, open_only=True)
    of_version: dict[tuple[str, int], list[RecordedWindow]] = defaultdict(list)
    for window in list_windows(stores.metadata):
        of_version[window.key.model, window.key.version].append(window)
    for (model, version), windows in of_version.items():
        read_from = still_read(stores, monitor_of(definitions, model))
        silences = list_silences(stores.metadata, model, now)
        mine = [one for one in alerts if (one.model, one.version) == (model, version)]
        old = {
            one.key: _why_a_window_stays(one.key, mine, silences, read_from)
            for one in windows
            if one.key.end <= before and one.state != SPAN
        }
        gone = [key for key, why in old.items() if not why]
        spans = [one.key for one in windows if one.state == SPAN]
        # What all windows are together goes with the last of them.
        if len(gone) + len(spans) == len(windows):
            gone += [key for key in spans if key.end <= before]
        if gone and not dry_run:
            delete_windows(stores.metadata, model, version, gone, older_than=said)
        yield Expired("windows", f"{model}@{version}", len(gone), said, _counted(old.values()))


def _why_a_window_stays(
    key: WindowKey, alerts: Iterable[AlertState], silences: Iterable[Silence], read_from: datetime | None
) -> str:
    length = key.end - key.start
    for alert in alerts:
        if key.end > alert.window_end - alert.windows * length and key.start < alert.window_end:
            return "an open alert names it"
    if any(key.end > silence.since for silence in silences):
        return "a silence that holds covers it"
    if read_from is not None and key.start >= read_from - max(_WEEK, length):
        return "the monitor still reads it"
    return ""


def _runs(stores: Stores, definitions: Definitions, after: timedelta, said: str, dry_run: bool) -> Iterator[Expired]:
    before = stores.clock() - after
    named = named_runs(stores.metadata)
    gone: dict[str, list[str]] = defaultdict(list)
    stay: Counter[str] = Counter()
    for run in runs_before(stores.metadata, before):
        of = f"{run.kind} {run.name}"
        if run.id in named:
            stay[of] += 1
        else:
            gone[of].append(run.id)
    if not dry_run:
        delete_runs(stores.metadata, [run for ids in gone.values() for run in ids], older_than=said)
        reach("retention.before-logs")
        delete_logs_of_no_run(stores, before)
    for of in sorted({*gone, *stay}):
        yield Expired("runs", of, len(gone[of]), said, {"what it made is there": stay[of]} if stay[of] else {})


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(why for why in reasons if why))
