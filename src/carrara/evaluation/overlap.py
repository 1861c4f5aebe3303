"""How many test rows the model has seen in training: same features, same label."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.data.rows import Rows, batches

_MUCH = 0.01
"""How much larger a share is suspicious than that of the rows which the train part itself has twice."""

_AT_ONCE = 2_000_000
"""About so many digests are compared at a time; of more rows they wait in files."""

Digests = npt.NDArray[np.uint64]


def overlap(train: Rows, test: Rows, columns: Sequence[str], *, at_once: int = _AT_ONCE) -> dict[str, Any]:
    """The test rows whose `columns` are those of a train row, by digests of rows, of which about `at_once` are held.

    Few different features make equal rows that mean nothing: `repeated` is the share of train rows that there are more
    than once, and the overlap is `suspicious` where it is larger than that by a hundredth of the test rows.
    """
    parts = 1 + (train.height + test.height) // at_once
    seen = repeated = 0
    with tempfile.TemporaryDirectory(prefix="carrara-overlap-") as name:
        ours, theirs = (
            _spilled(rows, columns, parts, Path(name) / part) for part, rows in (("train", train), ("test", test))
        )
        for one, other in zip(ours, theirs, strict=True):
            counted = _counted(np.fromfile(one, np.uint64), np.fromfile(other, np.uint64))
            seen, repeated = seen + counted[0], repeated + counted[1]
    share, repeats = seen / test.height, repeated / train.height
    return {"rows": seen, "share": share, "repeated": repeats, "suspicious": share > repeats + _MUCH}


def _spilled(rows: Rows, columns: Sequence[str], parts: int, folder: Path) -> list[Path]:
    """The digests of rows in `parts` files: equal rows of train and test are in files of one number."""
    folder.mkdir()
    paths = [folder / str(part) for part in range(parts)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for batch in batches(rows, list(columns)):
            # Polars' digests are the same within a process, which is all that is asked here.
            digests = batch.hash_rows().to_numpy()
            of_part = digests % np.uint64(parts)
            for part, file in enumerate(files):
                file.write(digests[of_part == part].tobytes())
    return paths


def _counted(train: Digests, test: Digests) -> tuple[int, int]:
    """How many of the test rows are train rows, and how many train rows there are more than once."""
    if not train.size:
        return 0, 0
    known, counts = np.unique(train, return_counts=True)
    places = np.minimum(np.searchsorted(known, test), len(known) - 1)
    return int((known[places] == test).sum()), int(counts[counts > 1].sum())
