"""The evaluation of a test part that is larger than memory: python benchmarks/evaluation/larger_than_memory.py [rows]

By default 20 M rows of 30 features in the lake (5 GB as float64): scored by the exported model in batches, metrics with
intervals, slices by a column, by SQL and by a cross, the search for weak slices, explanations, overlap and all charts.
Memory is what the process has more at its highest than before, without the pages of files.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from carrara.core.progress import Progress, Step
from carrara.data.rows import StoredRows
from carrara.features.service import resolve_features
from carrara.metadata.runs import run
from carrara.pipelines.evaluate_step import evaluate_step
from carrara.pipelines.fit_step import fit_step
from carrara.pipelines.steps import TrainingWork
from carrara.pipelines.train import _parts, assembled
from carrara.workspace.workspace import Workspace

FEATURES, TRAINED = 30, 20_000
CHUNK = 1_000_000
DEFINITIONS = """
import carrara

rows = carrara.Dataset("rows", source="rows.parquet")
FIELDS = {{f"f{{n}}": "float64" for n in range({features})}}


@carrara.on_demand_view(request=FIELDS, features=FIELDS)
def row(**columns):
    return columns


model = carrara.Model(
    "large",
    features=("row",),
    label=carrara.Label("rows", "label", time="at"),
    split=carrara.TimeSplit(validation_from="2024-01-02", test_from="2024-01-03"),
    trainer=carrara.XGBoost(trees=20, depth=4),
    slices=("carrier", "row:f0", {{"high": "f1 > 1", "hour": "extract(hour FROM at)"}}, ("high", "carrier")),
)
"""


def resident() -> float:
    """The memory of this process in GB, without the pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def made(random: np.random.Generator, rows: int, day: str) -> pl.DataFrame:
    features = {f"f{n}": random.normal(size=rows) for n in range(FEATURES)}
    at = np.datetime64(f"{day}T00:00:00", "us") + np.sort(random.integers(0, 86_400, rows)) * np.timedelta64(1, "s")
    carriers = np.array(["AA", "B6", "DL", "EV", "F9", "MQ", "UA", "US", "VX", "WN"])
    label = features["f0"] + features["f1"] * features["f2"] + random.normal(size=rows) > 0.5
    return pl.DataFrame({"at": at, "carrier": carriers[random.integers(0, 10, rows)], "label": label, **features}).cast(
        {"at": pl.Datetime("us", "UTC")}
    )


def main(rows: int) -> None:
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        days = [made(random, TRAINED, f"2024-01-0{day}") for day in (1, 2, 3)]
        pl.concat(days).write_parquet(folder / "rows.parquet")
        (folder / "definitions.py").write_text(DEFINITIONS.format(features=FEATURES))
        (folder / "carrara.toml").write_text('[workspace]\nname = "large"\n')
        (folder / "test").mkdir()
        for start in range(0, rows, CHUNK):
            chunk = made(random, min(CHUNK, rows - start), "2024-01-03")
            chunk = chunk.rename({f"f{n}": f"row:f{n}" for n in range(FEATURES)}).with_columns(f1=pl.col("row:f1"))
            chunk.write_parquet(folder / "test" / f"{start:012d}.parquet")
        del chunk, days
        with Workspace(folder) as ws, run(ws.stores.metadata, "train", "large", {}) as run_id:
            model = ws.definitions.of_kind("model")["large"]
            service = resolve_features(ws.definitions, model.features, where="the benchmark")
            work = TrainingWork(ws.stores, ws.definitions, model, service, run_id)
            training_set = assembled(work, Progress())
            parts = _parts(work, training_set)
            fitted = fit_step(work, training_set, parts, Step("train"))
            table = pl.scan_parquet(folder / "test")
            parts["test"] = StoredRows(table, pl.repeat(True, rows, eager=True))
            larger = replace(training_set, digest=f"{rows} rows")
            before, most, done = resident(), [0.0], threading.Event()

            def watch() -> None:
                while not done.wait(0.01):
                    most[0] = max(most[0], resident() - before)

            watching = threading.Thread(target=watch)
            watching.start()
            started = time.perf_counter()
            evaluation, _ = evaluate_step(work, larger, fitted, parts, Step("evaluate"))
            wall = time.perf_counter() - started
            done.set()
            watching.join()
    value = evaluation.metrics["roc_auc"]
    print(f"{rows:,} rows × {FEATURES}: {wall:.1f} s, {most[0]:.2f} GB beyond the {before:.2f} GB before")
    print(f"roc_auc {value.value:.4f} [{value.low:.4f}, {value.high:.4f}], {len(evaluation.slices)} slices")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000)
