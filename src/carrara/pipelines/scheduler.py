"""The scheduler: brings views up to date and trains models at the moments of their schedules, missed ones too.

An interval of a view ends at a moment of its schedule. All intervals that are due are covered by one run, which
ingests the view's dataset, computes the view, and materialises it up to the newest of these moments; so a late or
corrected row is picked up by the next run, whatever its time. A model is trained, after the views that are due with
it; where nothing has changed there is no new version, and what is deployed stays as it is. Last come the monitors, of
every model that serves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from carrara.core.definitions import Definitions
from carrara.core.errors import CarraraError, CheckFailed
from carrara.core.identity import new_id
from carrara.core.metrics import SCHEDULER_ROUND
from carrara.core.progress import Progress
from carrara.core.schedule import Schedule
from carrara.features.offline import compute_feature_table
from carrara.features.service import StoredView
from carrara.metadata.intervals import Claim, Interval, claim, extend, finish, list_intervals
from carrara.metadata.runs import run
from carrara.models.registry import champion, resolve
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.prediction_log import log_table
from carrara.pipelines.continued import newest_version
from carrara.pipelines.freshness import measure_freshness
from carrara.pipelines.monitor import Monitored, monitors, run_monitoring
from carrara.pipelines.prepare import ingest_for, materialise_views, refresh_former_views, stored_views
from carrara.pipelines.retraining import Retraining, reason_to_retrain
from carrara.pipelines.train import Trained, train
from carrara.serving.batch import predict_dataset
from carrara.serving.batch_prediction import BatchPrediction
from carrara.storage.stores import Stores
from carrara.training.model import Model

KIND = "feature view"
_log = logging.getLogger(__name__)
LEASE = timedelta(minutes=5)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=30)
_MOST_MISSED = 10_000
_LONGEST_WAIT_SECONDS = 15.0
"""How soon a changed definition, or the work of a scheduler that died, is noticed."""


Timed = StoredView | Model | Retraining | Monitor | BatchPrediction
"""What may have a schedule."""


@dataclass(frozen=True)
class Scheduled:
    """What one run of a view or a model did: the moments that it covers, what there is to say, and its error where it
    failed."""

    kind: str
    name: str
    moments: tuple[datetime, ...]
    error: str | None = None
    said: str = ""


_NO_TIER = 5


def scheduled(definitions: Definitions) -> list[Timed]:
    """The views that have a schedule, then the models by their tiers, those whose `Retrain` is looked after, and what
    models predict."""
    models: list[Model] = sorted(definitions.of_kind("model").values(), key=lambda model: model.tier or _NO_TIER)
    everything: list[Timed] = [*stored_views(definitions), *models]
    watched = [Retraining(model, model.retrain) for model in models if model.retrain is not None]
    predicted = [one for one in definitions.of_kind(BatchPrediction.kind).values() if one.schedule is not None]
    return [*(one for one in everything if one.schedule is not None), *watched, *predicted]


def scheduled_monitors(stores: Stores, definitions: Definitions) -> list[Monitor]:
    """The monitors that have a schedule and something to look at."""
    there = monitors(stores, definitions)
    return [one for one in there if one.schedule is not None and stores.lake.exists(log_table(one.name))]


def due(stores: Stores, view: Timed, now: datetime) -> tuple[datetime, ...]:
    """The moments of a schedule that nobody has done nor is doing, oldest first.

    What was never scheduled is due as of the newest moment. After a failure all wait: a minute, then twice as
    long each time, up to half an hour.
    """
    last = list_intervals(stores.metadata, view.kind, view.name, limit=1)
    return () if last and _waits(last[0], now) else undone(stores, view, now)


def undone(stores: Stores, view: Timed, now: datetime) -> tuple[datetime, ...]:
    """The moments of a schedule that nobody has done, whether somebody is at it or not, oldest first."""
    assert view.schedule is not None
    schedule = Schedule.of(view.schedule)
    if not list_intervals(stores.metadata, view.kind, view.name, limit=1):
        return (schedule.until(now),)
    complete = list_intervals(stores.metadata, view.kind, view.name, state="complete", limit=1)
    oldest = complete[0].until if complete else _oldest(stores, view) - timedelta(microseconds=1)
    return tuple(schedule.between(oldest, now))[-_MOST_MISSED:]


def run_due(stores: Stores, definitions: Definitions, *, owner: str = "", lease: timedelta = LEASE) -> list[Scheduled]:
    """Do what is due now and is not another's; a dataset that several views need is ingested once."""
    owner = owner or new_id()
    claimed: list[tuple[Timed, Claim]] = []
    for view in [*scheduled(definitions), *scheduled_monitors(stores, definitions)]:
        now = stores.clock()
        wanted = Claim(view.kind, view.name, due(stores, view, now), owner)
        if wanted.moments and claim(stores.metadata, wanted, now, lease):
            claimed.append((view, wanted))
    with _held(stores, [one for _, one in claimed], lease):
        ingested: dict[str, str | None] = {}
        return [_run(stores, definitions, view, held, ingested) for view, held in claimed]


def run_scheduler(
    stores: Stores,
    load: Callable[[], Definitions],
    told: threading.Event,
    said: Callable[[Scheduled], None],
    *,
    measure: Callable[[Stores, Definitions], None] = measure_freshness,
    lease: timedelta = LEASE,
) -> None:
    """Do what is due, again and again, until told to stop; definitions are loaded anew each time.

    `measure` tells Prometheus how things stand after each round.
    """
    owner = new_id()
    while not told.is_set():
        try:
            definitions = load()
            for done in run_due(stores, definitions, owner=owner, lease=lease):
                said(done)
            measure(stores, definitions)
            SCHEDULER_ROUND.set(stores.clock().timestamp())
            told.wait(_pause(stores, definitions))
        except CarraraError:
            # A file that is being edited, a store that is away: neither ends what is to run for months.
            _log.exception("the scheduler could not look for what is due, and tries again")
            told.wait(_LONGEST_WAIT_SECONDS)


def next_moment(stores: Stores, view: Timed) -> datetime | None:
    """When a view or a model is due next."""
    return Schedule.of(view.schedule).after(stores.clock()) if view.schedule is not None else None


def _run(
    stores: Stores, definitions: Definitions, view: Timed, held: Claim, ingested: dict[str, str | None]
) -> Scheduled:
    error, said = None, ""
    try:
        with run(stores.metadata, "schedule", view.name, {"until": [moment.isoformat() for moment in held.moments]}):
            if isinstance(view, Model):
                said = _told(train(stores, definitions, view.name, Progress(), why=[f"its schedule, {view.schedule}"]))
                return _finished(stores, view, held, None, said)
            if isinstance(view, Retraining):
                _ingest(stores, definitions, view.model.label.dataset, ingested)
                return _finished(stores, view, held, None, _retrained(stores, definitions, view))
            if isinstance(view, BatchPrediction):
                _ingest(stores, definitions, view.dataset, ingested)
                return _finished(stores, view, held, None, _predicted(stores, view))
            if isinstance(view, Monitor):
                return _finished(stores, view, held, None, _monitored(run_monitoring(stores, definitions, view)))
            _ingest(stores, definitions, view.source, ingested)
            compute_feature_table(stores, definitions, view)
            materialise_views(stores, definitions, [view], held.moments[-1])
            refresh_former_views(stores, [view], held.moments[-1])
    except Exception as failed:  # One view's failure stops neither the others nor the scheduler.
        error = str(failed)
    return _finished(stores, view, held, error, said)


def _monitored(done: Monitored) -> str:
    """What a monitor did; CheckFailed where a window could not be computed, so that it is tried again."""
    failed = [f"{key.start:%Y-%m-%d %H:%M}: {error}" for one in done.ran for key, error in one.failed]
    if failed:
        raise CheckFailed(f"{len(failed)} windows of {done.model} could not be computed", failed)
    computed = sum(len(one.computed) for one in done.ran)
    begun = [alert.rule for one in done.ran for alert, _ in one.begun]
    parts = [f"{computed} windows computed", *(f"firing: {rule}" for rule in begun)]
    return "; ".join([*parts, *(f"{one.then}: {one.did or one.error}" for one in done.followed)])


def _retrained(stores: Stores, definitions: Definitions, watched: Retraining) -> str:
    found = reason_to_retrain(stores, watched.model, watched.retrain)
    if not found.asks:
        return f"not trained: {found.said}"
    goes_on = watched.retrain.new_rows and newest_version(stores, watched.name) is not None
    trained = train(stores, definitions, watched.name, Progress(), new_rows=goes_on, why=[found.said])
    return f"{found.said}: {_told(trained)}"


def _predicted(stores: Stores, batch: BatchPrediction) -> str:
    live = champion(stores, batch.model) if "@" not in batch.model and ":" not in batch.model else None
    version = live or resolve(stores, batch.model)
    made = predict_dataset(stores, version, batch.dataset, batch.name, time=batch.time)
    said = "is up to date" if made.reused else f"has {made.version.rows:,} predictions"
    return f"{made.version.address} {said}, by {version}"


def _told(trained: Trained) -> str:
    return f"{trained.version} is up to date" if trained.reused else f"{trained.version} registered"


def _finished(stores: Stores, view: Timed, held: Claim, error: str | None, said: str) -> Scheduled:
    finish(stores.metadata, held, stores.clock(), error)
    return Scheduled(view.kind, view.name, held.moments, error, said)


def _ingest(stores: Stores, definitions: Definitions, dataset: str, ingested: dict[str, str | None]) -> None:
    """Ingest a dataset once a round; where it failed, it failed for every view that needs it."""
    if dataset not in ingested:
        try:
            ingest_for(stores, definitions, [dataset])
            ingested[dataset] = None
        except Exception as error:
            ingested[dataset] = str(error)
            raise
    if (failed := ingested[dataset]) is not None:
        raise RuntimeError(failed)


@contextmanager
def _held(stores: Stores, claims: list[Claim], lease: timedelta) -> Iterator[None]:
    """Extends the leases of claims while a block runs."""
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(lease.total_seconds() / 4):
            for held in claims:
                extend(stores.metadata, held, stores.clock() + lease)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _waits(last: Interval, now: datetime) -> bool:
    if last.state == "running":
        return last.lease_until > now
    if last.state == "failed" and last.ended_at is not None:
        pause: timedelta = min(_FIRST_PAUSE * 2 ** min(last.attempts - 1, 10), _LONGEST_PAUSE)
        return now < last.ended_at + pause
    return False


def _oldest(stores: Stores, view: Timed) -> datetime:
    return list_intervals(stores.metadata, view.kind, view.name, limit=_MOST_MISSED)[-1].until


def _pause(stores: Stores, definitions: Definitions) -> float:
    moments = [moment for view in scheduled(definitions) if (moment := next_moment(stores, view)) is not None]
    soonest = min(((moment - stores.clock()).total_seconds() for moment in moments), default=_LONGEST_WAIT_SECONDS)
    return min(max(soonest, 0.0), _LONGEST_WAIT_SECONDS)
