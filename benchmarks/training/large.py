"""A training set larger than memory: one fit from a Parquet file whose matrix does not fit.

python benchmarks/training/large.py [--rows 20000000] [--trainer xgboost]
systemd-run --scope -p MemoryMax=2G python benchmarks/training/large.py --data rows.parquet

20 M rows × 30 features are a matrix of 2.4 GB. The file is written first, and kept where --data names it, so that the
fit can be run within a limit. Told are the seconds of the fit, its rows a second, and the most memory of its own that
it had (pages of files that the system can take back are not counted).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import carrara
from carrara.data.rows import split_table
from carrara.training.fit import fit_prepared, prepare

COLUMNS, BATCH = 30, 1_000_000
TRAINERS = {
    "xgboost": carrara.XGBoost(trees=20, early_stopping=20),
    "lightgbm": carrara.LightGBM(trees=20, early_stopping=20),
    "torch": carrara.Torch(epochs=1, batch_rows=4_096),
}


def main(data: Path, rows: int, trainer: str) -> int:
    """The bytes that the fit took beside what was there before."""
    if not data.exists():
        write_rows(data, rows)
    names = tuple(f"v:f{n}" for n in range(COLUMNS))
    label = carrara.Label(dataset="rows", column="label", time="at")
    split = carrara.TimeSplit(validation_from="2024-01-10", test_from="2024-01-11")
    model = carrara.Model("m", features=names, label=label, split=split, trainer=TRAINERS[trainer])
    with _Memory() as memory:
        started = time.perf_counter()
        table = pl.scan_parquet(data)
        parts = split_table(table, split, time="at", known_at=None)
        with tempfile.TemporaryDirectory(dir=data.parent) as folder:
            made = fit_prepared(model, prepare(model, names, parts, folder=Path(folder)))
        seconds = time.perf_counter() - started
    assert made.export["equal"], made.export
    height = sum(part.height for part in parts.values())
    matrix = height * COLUMNS * 4 / 1e9
    print(f"{trainer}: {height:,} rows in {seconds:.0f} s, {height / seconds / 1e6:.2f} million rows a second")
    peak = memory.peak / 1e9
    print(f"a matrix of {matrix:.2f} GB, at most {peak:.2f} GB of memory: {peak / matrix:.2f} ×")
    return memory.peak - memory.before


def write_rows(path: Path, rows: int) -> None:
    """Normal features, of which five tell of a binary label; eleven days, the last two to stop by and to test."""
    random, day = np.random.default_rng(0), np.timedelta64(86_400_000_000, "us")
    writer = None
    for start in range(0, rows, BATCH):
        height = min(BATCH, rows - start)
        features = random.normal(size=(height, COLUMNS)).astype(np.float32)
        margin = features[:, :5] @ np.array([1.0, -1.0, 0.5, 0.5, 0.25], np.float32) + features[:, 0] * features[:, 1]
        at = np.datetime64("2024-01-01", "us") + np.arange(start, start + height) * (11 * day // rows)
        columns = {f"v:f{n}": features[:, n] for n in range(COLUMNS)}
        columns["label"] = margin + random.normal(size=height) > 0
        batch = pa.table({**columns, "at": pa.array(at, pa.timestamp("us", "UTC"))})
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    assert writer is not None
    writer.close()


class _Memory:
    """The most anonymous memory that this process has in a block."""

    def __enter__(self) -> _Memory:
        self.before = self.peak = self._held()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.peak = max(self.peak, self._held())

    def _held(self) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--trainer", choices=TRAINERS, default="xgboost")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        main(given.data or Path(scratch) / "rows.parquet", given.rows, given.trainer)
