"""Segments of rows by how well they are predicted, and by which features they differ, as in Manifold (Zhang et al.,
2018): the rows are clustered by their losses under one model or several, and each segment is compared with the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.evaluation.slices import SEARCHED_PARTS, Column, coded
from carrara.evaluation.weighing import Floats, Ints

_ROWS, _RUNS, _ROUNDS, _FEATURES = 50_000, 3, 20, 8


@dataclass(frozen=True)
class Segment:
    """Rows that are predicted alike: how many of those looked at, their mean loss by model, and the features by which
    they differ most from the rest, each with its divergence (Jensen-Shannon, 0 to 1 bit) and the value that is most
    over-represented, with its share here and elsewhere."""

    rows: int
    share: float
    losses: tuple[float, ...]
    features: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "share": self.share, "losses": list(self.losses), "features": list(self.features)}


def segments(losses: Floats, columns: Mapping[str, Column], *, count: int = 3, seed: int = 0) -> list[Segment]:
    """Segments from the best predicted to the worst; `losses` have shape (rows,) or (rows, models)."""
    rows = losses[:, None] if losses.ndim == 1 else losses
    looked_at = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_ROWS])
    rows = rows[looked_at]
    if len(rows) < 10 * count or not np.ptp(rows):
        return []
    # Losses have a long tail: by their roots, one extreme row is no segment of its own.
    clusters = _clustered(np.sqrt(rows), count, seed)
    codes = {name: coded(cells, SEARCHED_PARTS) for name, cells in columns.items()}
    found = []
    for number in sorted(np.unique(clusters), key=lambda one: float(rows[clusters == one].mean())):
        inside = clusters == number
        differing = [
            _compared(name, one.values, one.places[looked_at], inside)
            for name, one in codes.items()
            if not inside.all()
        ]
        differing.sort(key=lambda feature: -feature["divergence"])
        means = tuple(rows[inside].mean(axis=0).tolist())
        found.append(Segment(int(inside.sum()), float(inside.mean()), means, tuple(differing[:_FEATURES])))
    return found


def _clustered(points: Floats, count: int, seed: int) -> Ints:
    """The best of some runs of k-means from k-means++ (Arthur and Vassilvitskii, 2007)."""
    random = np.random.default_rng(seed)
    runs = [_one_run(points, count, random) for _ in range(_RUNS)]
    return min(runs, key=lambda run: run[0])[1]


def _one_run(points: Floats, count: int, random: np.random.Generator) -> tuple[float, Ints]:
    centres = points[random.integers(len(points), size=1)]
    while len(centres) < count:
        away = _distances(points, centres).min(axis=1)
        chances = away / away.sum() if away.any() else None
        centres = np.vstack([centres, points[random.choice(len(points), p=chances)]])
    nearest = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, _distances(points, centres).argmin(axis=1)
        if np.array_equal(nearest, before):
            break
        there = [points[nearest == n] for n in range(count)]
        centres = np.array([one.mean(axis=0) if len(one) else centres[n] for n, one in enumerate(there)])
    return float(_distances(points, centres).min(axis=1).sum()), nearest


def _distances(points: Floats, centres: Floats) -> Floats:
    return np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)


def _compared(name: str, values: tuple[str, ...], places: Any, inside: Any) -> dict[str, Any]:
    here = np.bincount(places[inside], minlength=len(values)) / inside.sum()
    there = np.bincount(places[~inside], minlength=len(values)) / (~inside).sum()
    middle = (here + there) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nan_to_num(here * np.log2(here / middle)) + np.nan_to_num(there * np.log2(there / middle))
    most = int(np.argmax(here - there))
    return {
        "feature": name,
        "divergence": float(parts.sum() / 2),
        "value": values[most],
        "share": float(here[most]),
        "elsewhere": float(there[most]),
    }
