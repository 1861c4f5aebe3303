"""What a server saw of the versions that answered: counts that add up over time and over processes.

The hot path only appends what it saw; counting is done once a second, by whoever looks.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_SHIFT = 19
"""Bins of floats by their sign, exponent and four bits of mantissa: 16 bins from each power of two to the next."""
_MOST_WAITING = 100_000
_SAME = 1e-6
_NO_SCORES: Array = np.empty(0)


@dataclass
class Seen:
    """Counts of one version; `latency`, `scores` and `differences` count values by the bin that `bins` puts them in.

    `failed` requests are the version's fault, `refused` ones may be the client's. `scores` has one a request. A shadow
    has `compared` rows, of which `agreed` are the primary's.
    """

    answered: int = 0
    failed: int = 0
    refused: int = 0
    not_finite: int = 0
    compared: int = 0
    agreed: int = 0
    dropped: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)
    differences: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return self.answered + self.failed + self.refused

    def add(self, other: Seen) -> None:
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, one.name, mine + theirs)

    def as_dict(self) -> dict[str, Any]:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: {str(k): n for k, n in v.items()} if isinstance(v, Counter) else v for name, v in found.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Seen:
        made = cls()
        for one in fields(cls):
            value = data.get(one.name, 0)
            counted = Counter({int(k): n for k, n in value.items()}) if isinstance(value, Mapping) else value
            setattr(made, one.name, counted or getattr(made, one.name))
        return made


@dataclass(frozen=True)
class _Run:
    """One run of a model, which `requests` shared."""

    seconds: float
    scores: Array
    requests: int


class Observed:
    """What was seen since the last look, by endpoint, model and version. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[tuple[str, str, int], Any]] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()

    def ran(self, key: tuple[str, str, int], seconds: float, outputs: Mapping[str, Array], requests: int) -> None:
        """A run of a version that answered so many requests."""
        self._waiting.append((key, _Run(seconds, _scores(outputs), requests)))

    def failed(self, key: tuple[str, str, int], *, refused: bool) -> None:
        """A request that a version did not answer."""
        self._waiting.append((key, Seen(refused=1) if refused else Seen(failed=1)))

    def compared(self, key: tuple[str, str, int], theirs: Mapping[str, Array], ours: Mapping[str, Array]) -> None:
        """A shadow's outputs beside those that were answered."""
        self._waiting.append((key, _comparison(theirs, ours)))

    def dropped(self, key: tuple[str, str, int]) -> None:
        """A request that a shadow was not asked, because it is too slow."""
        self._waiting.append((key, Seen(dropped=1)))

    def take(self) -> dict[tuple[str, str, int], Seen]:
        """The counts since the last look."""
        found: dict[tuple[str, str, int], Seen] = defaultdict(Seen)
        runs: dict[tuple[str, str, int], list[_Run]] = defaultdict(list)
        with self._lock:
            for _ in range(len(self._waiting)):
                key, event = self._waiting.popleft()
                if isinstance(event, Seen):
                    found[key].add(event)
                else:
                    runs[key].append(event)
        for key, some in runs.items():
            _count(found[key], some)
        return dict(found)


def bins(values: Array) -> Array:
    """The bin of each value, int64; the order of bins is that of values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits >> _SHIFT, -((bits & 0x7FFFFFFF) >> _SHIFT))


def upper_edge(place: int) -> float:
    """The upper end of a bin of positive values.

    >>> int(bins(np.array([0.9]))[0]), upper_edge(int(bins(np.array([0.9]))[0]))
    (2028, 0.90625)
    """
    return float(np.array([(place + 1) << _SHIFT], np.int32).view(np.float32)[0])


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The value that `share` of the counted positive values do not exceed, to a sixteenth; None of nothing."""
    total, reached = sum(counts.values()), 0
    for place in sorted(counts):
        reached += counts[place]
        if reached >= share * total:
            return upper_edge(place)
    return None


def _count(seen: Seen, runs: Sequence[_Run]) -> None:
    seen.answered += sum(run.requests for run in runs)
    seen.latency.update(bins(np.array([run.seconds for run in runs])).tolist())
    first = [run.scores if len(run.scores) == run.requests else _of_requests(run) for run in runs if len(run.scores)]
    if first:
        scores = np.concatenate(first)
        is_finite = np.isfinite(scores)
        seen.not_finite += int(len(scores) - is_finite.sum())
        seen.scores.update(bins(scores[is_finite]).tolist())


def _of_requests(run: _Run) -> Array:
    """One score a request: its first row's, or NaN where a row has none that is finite. Rows of one request belong
    together: each request counts once, as if all had the same number of rows."""
    starts = np.arange(0, len(run.scores), max(1, len(run.scores) // run.requests))[: run.requests]
    is_bad = np.logical_or.reduceat(~np.isfinite(run.scores), starts)
    return np.where(is_bad, np.nan, run.scores[starts])


def _scores(outputs: Mapping[str, Array]) -> Array:
    """One number a row: the first output of numbers, of several in a row the largest."""
    for values in outputs.values():
        if values.dtype.kind in "fiu":
            rows = np.atleast_1d(values)
            if rows.ndim == 1:
                return rows
            # Whole numbers have no infinity to begin with.
            largest: Array = rows.astype(np.float64).max(axis=tuple(range(1, rows.ndim)), initial=-np.inf)
            return largest
    return _NO_SCORES


def _comparison(theirs: Mapping[str, Array], ours: Mapping[str, Array]) -> Seen:
    rows = len(next(iter(theirs.values()), ()))
    agreed, seen = np.ones(rows, bool), Seen(compared=rows)
    for name, values in theirs.items():
        other = ours.get(name)
        if other is None or other.shape != values.shape:
            agreed[:] = False
        elif values.dtype.kind in "fiu":
            apart = np.abs(other.astype(np.float64) - values).reshape(rows, -1).max(axis=1, initial=0.0)
            close = apart <= _SAME + _SAME * np.abs(values.astype(np.float64)).reshape(rows, -1).max(
                axis=1, initial=0.0
            )
            agreed &= close | (np.isnan(values) & np.isnan(other)).reshape(rows, -1).all(axis=1)
            seen.differences.update(bins(apart[np.isfinite(apart)]).tolist())
        else:
            agreed &= (other == values).reshape(rows, -1).all(axis=1)
    seen.agreed = int(agreed.sum())
    return seen
