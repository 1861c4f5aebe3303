"""What transforms cost to fit, by days: the first time, with a day more, and with nothing kept, in one run.

python benchmarks/training/analyses.py [--rows 1000000] [--days 365]

Thirty float columns, of which a tenth is missing, and a text, in a table of Parquet files; Impute by the median, Clip,
Standardise and OneHot. A line of JSON for each: seconds of a processor, how many days were read, and the bytes that
are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from carrara.data.rows import StoredRows
from carrara.features.training_set import _digests_by_day
from carrara.training.analyzers.spans import Analyses, Day
from carrara.training.inputs import fit_inputs
from carrara.training.transforms.numbers import Clip, Impute, Standardise
from carrara.training.transforms.texts import OneHot

COLUMNS = [f"v:x{number}" for number in range(30)]
TRANSFORMS = (Impute(), Standardise(), OneHot("v:place"))
CLIPPED = (Impute(), Clip(), OneHot("v:place"))


def main(rows: int, days: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        frame = _table(rows, days + 1)
        frame.write_parquet(f"{folder}/table.parquet")
        found = [[str(day), part.rows, part.hexdigest(frame.schema)] for day, part in _digests_by_day(frame, "at")]
        del frame
        for name, transforms in (("moments", TRANSFORMS), ("quantiles", CLIPPED)):
            kept = Path(folder) / name
            for what, count, place in (
                ("first", days, kept),
                ("a day more", days + 1, kept),
                ("at once", days + 1, None),
            ):
                analyses = Analyses(Day.of(found[:count]) if place else (), place)
                table = pl.scan_parquet(f"{folder}/table.parquet").head(sum(day[1] for day in found[:count]))
                part = StoredRows(table, pl.repeat(True, sum(day[1] for day in found[:count]), eager=True))
                started = time.process_time()
                fit_inputs((*COLUMNS, "v:place"), transforms, part, analyses=analyses)
                told = {"transforms": name, "what": what, "seconds": round(time.process_time() - started, 2)}
                size = sum(file.stat().st_size for file in kept.glob("*"))
                print(json.dumps({**told, "days_read": len(analyses.read), "kept_bytes": size}), flush=True)


def _table(rows: int, days: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    a_day = rows // days
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(days=day) for day in range(days)]
    columns = {}
    for name in COLUMNS:
        values = random.normal(size=a_day * days).astype(np.float32)
        columns[name] = np.where(random.random(len(values)) < 0.1, np.float32("nan"), values)
    places = random.choice([f"place {number}" for number in range(300)], a_day * days)
    made = pl.DataFrame({"at": pl.Series(times).repeat_by(a_day).explode(), **columns, "v:place": places})
    return made.with_columns(pl.col(COLUMNS).fill_nan(None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    asked = parser.parse_args()
    main(asked.rows, asked.days)
