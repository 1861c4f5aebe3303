"""What trainers of trees share: rows on either side of every split, at which a rounded threshold shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from carrara.training.trainers.base import Array

_MOST = 10_000


def edge_rows(thresholds: Iterable[tuple[int, float]], rows: Array) -> Array:
    """A row of features for each (column, threshold): a real one, with that column at the float32 next to it, below, at
    and above in turn."""
    found = sorted(set(thresholds))
    step = max(1, 3 * len(found) // _MOST)
    made = []
    for number, (column, threshold) in enumerate(found[::step]):
        at = np.float32(threshold)
        for value in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            row = rows[number % len(rows)].copy()
            row[column] = value
            made.append(row)
    return np.array(made, dtype=np.float32).reshape(len(made), rows.shape[1])
