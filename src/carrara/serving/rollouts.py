"""Rollouts: what the servers of a workspace observe is added up, judged, and acted upon.

Every server process writes down what it saw, judges the sum of what all saw, and decides; the first decision on a
deployment counts, whichever process takes it. A canary that something speaks against is rolled back at once; one that
nothing speaks against is promoted when its time is over and it has answered enough. A new primary is watched for a
while, and what was primary before comes back where it must.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from carrara.core.identity import new_id
from carrara.metadata.deployments import Deployment, history, previous, promote, roll_back
from carrara.metadata.observations import Observation, add_observations, list_observations
from carrara.serving.judgement import Trial, against_primary
from carrara.serving.observed import Observed, Seen
from carrara.storage.stores import Stores

WATCHED = timedelta(hours=1)
"""How long a new primary is held against the one before."""

FEWEST_REQUESTS = 100
"""What a canary must have answered before it is promoted."""

_USUAL, _TRIED = timedelta(seconds=60), timedelta(seconds=2)
_LATE = timedelta(seconds=60)
_FORGOTTEN = timedelta(days=1)
_logger = logging.getLogger("carrara.serving")


class Rollouts:
    """Writes down what one server observed, and judges what all of them did."""

    def __init__(self, stores: Stores, observed: Observed) -> None:
        self._stores, self._observed = stores, observed
        self._server = new_id()
        self._seen: dict[tuple[str, str, int], Seen] = {}
        self._written = stores.clock()
        self._trials: dict[int, _Joined] = {}

    def tick(self, deployed: Sequence[Deployment]) -> None:
        """Look at what is deployed, once; to be called about every second. StorageError leaves what was seen here."""
        for key, seen in self._observed.take().items():
            self._seen.setdefault(key, Seen()).add(seen)
        now = self._stores.clock()
        tried = [one for one in deployed if one.until is not None and (one.role == "canary" or now < one.until)]
        often = tried or any(one.role != "primary" for one in deployed)
        if now - self._written < (_TRIED if often else _USUAL):
            return
        self.flush()
        self._trials = {one.id: self._trials.get(one.id) or _Joined(one.started_at) for one in tried}
        for one in tried:
            self._judge(one, next((p for p in deployed if p.endpoint == one.endpoint and p.role == "primary"), None))

    def flush(self) -> None:
        """Write down what was seen since the last time."""
        moment = self._stores.clock()
        rows = [
            Observation(endpoint, model, version, self._server, moment, seen.as_dict())
            for (endpoint, model, version), seen in self._seen.items()
        ]
        add_observations(self._stores.metadata, rows)
        self._seen, self._written = {}, moment

    def _judge(self, tried: Deployment, primary: Deployment | None) -> None:
        joined = self._trials[tried.id]
        if tried.role == "canary" and primary is not None:
            self._judge_canary(tried, primary, joined)
        elif tried.role == "primary":
            self._judge_primary(tried, joined)

    def _judge_canary(self, canary: Deployment, primary: Deployment, joined: _Joined) -> None:
        trial = joined.trial = joined.trial or Trial(canary.address, primary.address)
        for stretch in joined.news(self._stores, canary.endpoint):
            trial.add(stretch.get(_key(canary), Seen()), stretch.get(_key(primary), Seen()))
        if reasons := trial.against():
            self._back(canary, reasons)
        elif canary.until is not None and self._stores.clock() >= canary.until:
            self._end_canary(canary, primary, trial)

    def _end_canary(self, canary: Deployment, primary: Deployment, trial: Trial) -> None:
        if trial.seen.requests < FEWEST_REQUESTS:
            return
        # It brings all of `evaluation`, without which a server starts a quarter sooner.
        from carrara.serving.live_gates import judge_live

        live = judge_live(self._stores, canary, primary)
        if live.against:
            self._back(canary, live.against)
            return
        until = self._stores.clock() + WATCHED
        if promote(self._stores.metadata, canary, [*trial.told(), *live.told], until=until):
            _logger.info("%s: %s is promoted", canary.endpoint, canary.address)

    def _judge_primary(self, primary: Deployment, joined: _Joined) -> None:
        before = previous(self._stores.metadata, primary.endpoint)
        if before is None or (before.model, before.version) == _key(primary):
            return
        if joined.before is None:
            joined.before = _seen_before(self._stores, before, primary.started_at)
        for stretch in joined.news(self._stores, primary.endpoint):
            joined.seen.add(stretch.get(_key(primary), Seen()))
        if reasons := against_primary(joined.seen, joined.before, (primary.address, before.address)):
            self._back(primary, reasons)

    def _back(self, of: Deployment, reasons: Sequence[str]) -> None:
        _logger.warning("%s: %s is rolled back: %s", of.endpoint, of.address, "; ".join(reasons))
        roll_back(self._stores.metadata, of.endpoint, reasons, of=of)


class _Joined:
    """What was observed of an endpoint since a deployment began, each row of each server once."""

    def __init__(self, started_at: datetime) -> None:
        self._since = started_at
        self._known: set[tuple[str, datetime]] = set()
        self.trial: Trial | None = None
        self.seen = Seen()
        self.before: Seen | None = None

    def news(self, stores: Stores, endpoint: str) -> list[dict[tuple[str, int], Seen]]:
        """What came since the last time: of each server and moment, what was seen of each version."""
        found: dict[tuple[str, datetime], dict[tuple[str, int], Seen]] = {}
        for row in list_observations(stores.metadata, endpoint, self._since):
            if (row.server, row.at) not in self._known:
                found.setdefault((row.server, row.at), {})[row.model, row.version] = Seen.from_dict(row.seen)
        self._known.update(found)
        # A row of another server may come late; what is older than that is never asked for again.
        newest = max((at for _, at in found), default=self._since)
        self._since = max(self._since, newest - _LATE)
        self._known = {key for key in self._known if key[1] > self._since}
        return list(found.values())


def _seen_before(stores: Stores, before: Deployment, ended_at: datetime) -> Seen:
    """What was seen of the version before, from a day before its service ended."""
    found = Seen()
    for row in list_observations(stores.metadata, before.endpoint, ended_at - _FORGOTTEN):
        if (row.model, row.version) == _key(before):
            found.add(Seen.from_dict(row.seen))
    return found


def _key(one: Deployment) -> tuple[str, int]:
    return one.model, one.version


def totals(stores: Stores, endpoint: str) -> dict[tuple[str, int], Seen]:
    """What all servers saw of each version of an endpoint, since the oldest of what it serves now was deployed."""
    served = [one for one in history(stores.metadata, endpoint) if one.ended_at is None]
    since = min((one.started_at for one in served), default=stores.clock() - _FORGOTTEN)
    found: dict[tuple[str, int], Seen] = {}
    for row in list_observations(stores.metadata, endpoint, since):
        found.setdefault((row.model, row.version), Seen()).add(Seen.from_dict(row.seen))
    return found
