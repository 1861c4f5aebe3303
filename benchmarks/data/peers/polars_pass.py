"""What every profile must compute, in one plain streaming pass of Polars: the yardstick of the others' times.

python polars_pass.py REFERENCE CURRENT OUTPUT: only the reference is read, once; nothing is compared or validated.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import polars as pl
import polars.selectors as cs


def statistics(path: Path) -> dict[str, object]:
    """Nulls and distinct values of every column; ends of all but texts; mean, deviation and quartiles of numbers."""
    numbers, ordered = cs.numeric(), cs.numeric() | cs.temporal() | cs.boolean()
    figures = [
        cs.all().null_count().name.suffix(" nulls"),
        cs.all().n_unique().name.suffix(" distinct"),
        ordered.min().name.suffix(" min"),
        ordered.max().name.suffix(" max"),
        numbers.mean().name.suffix(" mean"),
        numbers.std().name.suffix(" std"),
        *(numbers.quantile(share).name.suffix(f" {share}") for share in (0.25, 0.5, 0.75)),
    ]
    return pl.scan_parquet(path).select(figures).collect(engine="streaming").row(0, named=True)


def main(reference: Path, output: Path) -> None:
    started = time.perf_counter()
    figures = statistics(reference)
    seconds = time.perf_counter() - started
    assert len(figures) > 100
    result = {"version": pl.__version__, "seconds": seconds, "reference_seconds": seconds, "found": []}
    output.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]))
