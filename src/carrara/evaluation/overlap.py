"""How many test rows the model has seen in training: same features, same label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.data.rows import Rows, batches

_MUCH = 0.01
"""How much larger a share is suspicious than that of the rows which the train part itself has twice."""


def overlap(train: Rows, test: Rows, columns: Sequence[str]) -> dict[str, Any]:
    """The test rows whose `columns` are those of a train row, by digests of the rows.

    Few different features make equal rows that mean nothing: `repeated` is the share of train rows that there are more
    than once, and the overlap is `suspicious` where it is larger than that by a hundredth of the test rows.
    """
    known, counts = np.unique(_digests(train, columns), return_counts=True)
    asked = _digests(test, columns)
    places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    seen = int((known[places] == asked).sum())
    share, repeated = seen / len(asked), float(counts[counts > 1].sum() / counts.sum())
    return {"rows": seen, "share": share, "repeated": repeated, "suspicious": share > repeated + _MUCH}


def _digests(rows: Rows, columns: Sequence[str]) -> npt.NDArray[np.uint64]:
    # Polars' digests are the same within a process, which is all that is asked here.
    return np.concatenate([one.hash_rows().to_numpy() for one in batches(rows, list(columns))])
