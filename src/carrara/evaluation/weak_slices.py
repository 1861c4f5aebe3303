"""The search for the slices where a model is worst, honest about how many it has looked at.

All values of all columns and all pairs of them are looked at on one half of the rows; the worst are measured on the
other half, which had no part in choosing them. The idea is that of Slice Finder (Chung et al., 2019); what is worst is
the lower bound of the mean loss, so that few rows of bad luck are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.slices import OTHER, SEARCHED_PARTS, Codes, Column, coded
from carrara.evaluation.weighing import Floats, sums_by

_MOST_VALUES, _MOST_COLUMNS = 50, 30
_SEARCHED_ROWS, _CANDIDATES, _LUCK = 200_000, 100, 4.0

Mask = npt.NDArray[np.bool_]
_Sums = tuple[Floats, Floats, Floats]


@dataclass(frozen=True)
class WeakSlice:
    """A slice by its `conditions` (column → value), as the rows that did not choose it show it: how many, their mean
    `loss` with a 95 % interval, and the loss of the `rest`.

    `p` is the chance of such a difference by luck, times the slices that were chosen (Holm); it is `confirmed` where
    that is below 0.05. `looked_at` slices were compared to choose it.
    """

    conditions: Mapping[str, str]
    rows: int
    loss: float
    low: float
    high: float
    rest: float
    p: float
    confirmed: bool
    looked_at: int

    @property
    def name(self) -> str:
        return " and ".join(f"{column} = {value}" for column, value in self.conditions.items())

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "conditions": dict(self.conditions)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WeakSlice:
        return cls(**data)


def weakest_slices(
    losses: Floats, columns: Mapping[str, Column], *, min_rows: int = 200, most: int = 10, seed: int = 0
) -> list[WeakSlice]:
    """At most `most` slices of at least `min_rows` rows in either half, the worst first, of columns of shape (rows,).

    A slice that is only part of a worse one is not named again: after each, the rows that it has are no longer looked
    at. `losses` are those of `row_losses`, or any other where more is worse.
    """
    searching = np.random.default_rng(seed).random(len(losses)) < min(0.5, _SEARCHED_ROWS / max(len(losses), 1))
    codes = {name: _bounded(coded(cells, SEARCHED_PARTS)) for name, cells in columns.items()}
    found = {name: Codes(one.values, one.places[searching]) for name, one in codes.items()}
    sought = losses[searching]
    if len(sought) < 2 * min_rows or not len(codes):
        return []
    candidates, looked_at = _candidates(sought, found, min_rows)
    chosen = _greedy(sought, found, candidates, min_rows, most, looked_at)
    kept = {name: Codes(one.values, one.places[~searching]) for name, one in codes.items()}
    measured = [_measured(losses[~searching], kept, one, looked_at) for one in chosen]
    return _judged([one for one in measured if one is not None and one.rows >= min_rows])


_Slice = tuple[tuple[str, int], ...]
"""Columns and the places of their values."""


def _candidates(losses: Floats, codes: Mapping[str, Codes], min_rows: int) -> tuple[list[_Slice], int]:
    """The slices with the highest lower bounds of their mean loss, and how many there were."""
    names = list(codes)
    singles = {name: _stretch(losses, codes[name].places, len(codes[name].values)) for name in names}
    looked_at = sum(int((counts >= min_rows).sum()) for counts, _, _ in singles.values())
    ranked: list[tuple[float, _Slice]] = []
    for name, sums in singles.items():
        bounds = _lower(*sums, min_rows)
        ranked += [(float(bounds[p]), ((name, int(p)),)) for p in np.flatnonzero(bounds > -np.inf)]
    spread = {name: float(np.nanmax(_lower(*singles[name], min_rows))) for name in names}
    paired = sorted(sorted(names, key=lambda name: -spread[name])[:_MOST_COLUMNS], key=names.index)
    for one, other in combinations(paired, 2):
        width = len(codes[other].values)
        pairs = codes[one].places * np.int32(width) + codes[other].places
        sums = _stretch(losses, pairs, len(codes[one].values) * width)
        looked_at += int((sums[0] >= min_rows).sum())
        bounds = np.where(_beyond(sums, singles[one], singles[other]), _lower(*sums, min_rows), -np.inf)
        best = np.argsort(-bounds)[:_CANDIDATES]
        ranked += [
            (float(bounds[p]), ((one, int(p // width)), (other, int(p % width)))) for p in best if bounds[p] > -np.inf
        ]
    ranked.sort(key=lambda pair: -pair[0])
    return [one for _, one in ranked[:_CANDIDATES]], looked_at


def _beyond(sums: _Sums, one: _Sums, other: _Sums) -> Mask:
    """Where a pair is worse than both of its values alone, by more than the luck of many pairs."""
    alone = [np.where(counts > 0, total / np.maximum(counts, 1), -np.inf) for counts, total, _ in (one, other)]
    worse = np.maximum(alone[0][:, None], alone[1][None, :]).ravel()
    return _lower(*sums, 2, errors=_LUCK) > worse


def _greedy(
    losses: Floats,
    codes: Mapping[str, Codes],
    candidates: Iterable[_Slice],
    min_rows: int,
    most: int,
    looked_at: int,
) -> list[_Slice]:
    """The worst slice, then the worst of the rows that are left, while one is worse than the mean."""
    left, mean = np.ones(len(losses), bool), float(losses.mean())
    masks = {one: _mask(codes, one, len(losses)) for one in candidates}
    chosen: list[_Slice] = []
    sure = NormalDist().inv_cdf(1 - 0.05 / max(looked_at, 1))
    while masks and len(chosen) < most:
        bounds = {one: _bound(losses[mask & left], sure, min_rows) for one, mask in masks.items()}
        # Of two that are as bad, the one of fewer conditions is said.
        worst = max(bounds, key=lambda one: (bounds[one], -len(one)))
        if bounds[worst] <= mean:
            break
        chosen.append(worst)
        left &= ~masks.pop(worst)
    return chosen


def _bound(losses: Floats, sure: float, min_rows: int) -> float:
    if len(losses) < min_rows:
        return -math.inf
    return float(losses.mean() - sure * losses.std() / math.sqrt(len(losses)))


def _stretch(losses: Floats, places: npt.NDArray[np.int32], size: int) -> _Sums:
    """Of each place the rows, and the sums of their losses and of the squares."""
    ones = np.ones(len(losses))
    return sums_by(places, ones, size), sums_by(places, losses, size), sums_by(places, losses**2, size)


def _lower(counts: Floats, sums: Floats, squares: Floats, min_rows: int, *, errors: float = 2.0) -> Floats:
    """The lower bound (by so many standard errors) of each mean, -inf where there are too few rows."""
    safe = np.maximum(counts, 1)
    means = sums / safe
    error = np.sqrt(np.maximum(squares / safe - means**2, 0) / safe)
    return np.where(counts >= min_rows, means - errors * error, -np.inf)


def _mask(codes: Mapping[str, Codes], one: _Slice, rows: int) -> Mask:
    found = np.ones(rows, bool)
    for name, place in one:
        found &= codes[name].places == place
    return found


def _measured(losses: Floats, codes: Mapping[str, Codes], one: _Slice, looked_at: int) -> WeakSlice | None:
    mask = _mask(codes, one, len(losses))
    inside, outside = losses[mask], losses[~mask]
    if len(inside) < 2 or len(outside) < 2:
        return None
    mean, error = float(inside.mean()), float(inside.std(ddof=1)) / math.sqrt(len(inside))
    spread = math.hypot(error, float(outside.std(ddof=1)) / math.sqrt(len(outside)))
    p = NormalDist().cdf((float(outside.mean()) - mean) / spread) if spread else 1.0
    return WeakSlice(
        conditions={name: codes[name].values[place] for name, place in one},
        rows=len(inside),
        loss=mean,
        low=mean - 1.96 * error,
        high=mean + 1.96 * error,
        rest=float(outside.mean()),
        p=p,
        confirmed=False,
        looked_at=looked_at,
    )


def _judged(found: Sequence[WeakSlice]) -> list[WeakSlice]:
    """With each p times those that are left to judge (Holm, 1979); what is confirmed comes first."""
    order = sorted(range(len(found)), key=lambda place: found[place].p)
    adjusted, highest = {}, 0.0
    for number, place in enumerate(order):
        highest = max(highest, min(1.0, found[place].p * (len(found) - number)))
        adjusted[place] = highest
    judged = [
        WeakSlice(**{**vars(one), "p": adjusted[place], "confirmed": adjusted[place] < 0.05})
        for place, one in enumerate(found)
    ]
    return sorted(judged, key=lambda one: not one.confirmed)


def _bounded(codes: Codes) -> Codes:
    """The most frequent values; the others are one."""
    if len(codes.values) <= _MOST_VALUES:
        return codes
    kept = np.argsort(-np.bincount(codes.places, minlength=len(codes.values)), kind="stable")[: _MOST_VALUES - 1]
    new = np.full(len(codes.values), len(kept), np.int32)
    new[kept] = np.arange(len(kept))
    return Codes((*(codes.values[place] for place in kept), OTHER), new[codes.places])
