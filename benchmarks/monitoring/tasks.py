"""One task of the benchmark in a process of its own, which prints JSON: python tasks.py TASK FOLDER ROWS FEATURES"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from carrara.core.identity import new_ids
from carrara.core.named_columns import Columns
from carrara.data.distances import noise
from carrara.metadata.store import Metadata
from carrara.monitoring.drift import ReferenceDistribution, drift_of
from carrara.monitoring.logged_predictions import LoggedPredictions
from carrara.monitoring.outcomes import OutcomeRule, join_outcomes
from carrara.monitoring.prediction_log import PredictionLog
from carrara.monitoring.profile import profile_table
from carrara.storage.artifacts import ArtifactStore
from carrara.storage.lake import Lake
from carrara.storage.stores import Stores

AT = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)


def stores_in(folder: Path) -> Stores:
    metadata = Metadata(f"sqlite:///{folder}/metadata.db")
    return Stores(metadata, Lake(str(folder / "lake")), ArtifactStore(str(folder / "artifacts")), "lmdb:online", folder)


def batch_of(rows: int, features: int) -> LoggedPredictions:
    return LoggedPredictions(
        model="bench",
        version=1,
        ids=new_ids(rows),
        event_times=np.full(rows, AT, np.int64),
        keys={"driver": np.array(["d1"] * rows, object)},
        request={"distance": np.full(rows, 3.0)},
        # As the online store gives them: one matrix.
        features=Columns(tuple(f"view:f{number}" for number in range(features)), np.random.rand(rows, features)),
        outputs={"probability": np.random.rand(rows).astype(np.float32)},
    )


def hot_path(folder: Path, rows: int, features: int) -> dict[str, float]:
    """Microseconds that a request waits for the log, one prediction a batch; the median, and 99 of 100."""
    log = PredictionLog(stores_in(folder))
    batches, took = [batch_of(1, features) for _ in range(rows)], np.empty(rows)
    for place, batch in enumerate(batches):
        began = time.perf_counter_ns()
        log.append(batch, endpoint="bench", latency=0.01)
        took[place] = (time.perf_counter_ns() - began) / 1_000
        if place % 50 == 0:
            time.sleep(0.001)
    log.close()
    return {"median_us": float(np.median(took)), "p99_us": float(np.quantile(took, 0.99)), "dropped": log.dropped}


def to_the_lake(folder: Path, rows: int, features: int, *, batch: int = 50) -> dict[str, float]:
    """Predictions a second of CPU, from batches to the lake's table; making the batches is not counted."""
    log = PredictionLog(stores_in(folder))
    wall = spent = 0.0
    for _ in range(0, rows, 20_000):
        batches = [batch_of(batch, features) for _ in range(20_000 // batch)]
        began, cpu = time.perf_counter(), time.process_time()
        for one in batches:
            log.append(one, endpoint="bench", latency=0.01)
        while log._journal.taken > log._journal.settled:
            log._wake.set()
            time.sleep(0.001)
        wall, spent = wall + time.perf_counter() - began, spent + time.process_time() - cpu
    began, cpu = time.perf_counter(), time.process_time()
    log.close()
    wall, spent = wall + time.perf_counter() - began, spent + time.process_time() - cpu
    return {"per_second": rows / wall, "per_cpu_second": rows / spent, "dropped": log.dropped, "written": log.written}


def single_to_the_lake(folder: Path, rows: int, features: int) -> dict[str, float]:
    """The same from batches of one row, as requests that come one by one make them."""
    return to_the_lake(folder, rows, features, batch=1)


def drift(folder: Path, rows: int, features: int) -> dict[str, float]:
    """Profile a table and compare every feature with training."""
    reference = pl.read_parquet(folder / "training.parquet")
    names = [name for name in reference.columns if name.startswith("view:")]
    references = {name: ReferenceDistribution.from_values(reference[name].to_numpy()) for name in names}
    began = time.perf_counter()
    profile = profile_table(pl.scan_parquet(folder / "window"), names, references)
    found = {name: drift_of(name, references[name].counts, profile.columns[name].counts) for name in names}
    seconds = time.perf_counter() - began
    seen = [n for n, d in found.items() if d.psi > noise("psi", 11, reference.height, rows)]
    return {"seconds": seconds, "moved": len(seen), "rows": profile.rows}


def outcomes(folder: Path, rows: int, features: int) -> dict[str, float]:
    """Join as many outcomes as predictions, by id."""
    stores = stores_in(folder)
    log = pl.read_parquet(folder / "index.parquet")
    rule = OutcomeRule("bench", "none", "late", "at", None, "binary", (), ())
    began = time.perf_counter()
    joined = join_outcomes(stores, rule, log)
    return {"seconds": time.perf_counter() - began, "joined": joined["__outcome"].is_not_null().sum()}


TASKS = {"hot": hot_path, "lake": to_the_lake, "single": single_to_the_lake, "drift": drift, "outcomes": outcomes}


def main(task: str, folder: Path, rows: int, features: int) -> None:
    cpu = time.process_time()
    found = TASKS[task](folder, rows, features)
    print(json.dumps({**found, "cpu_seconds_with_reading": time.process_time() - cpu}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
