"""Feast at one of the works of `run.py`: python feast_peer.py WORK TABLES OUTPUT. DuckDB offline, SQLite online."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import feast
import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

sys.path.insert(0, str(Path(__file__).parents[1]))
from tables import ENTITIES, FEATURES, VIEWS, WIDE

REPOSITORY = """
project: benchmark
provider: local
registry: registry.db
offline_store:
  type: duckdb
online_store:
  type: sqlite
  path: online.db
entity_key_serialization_version: 3
"""
ENTITY = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)


def join(tables: Path) -> dict[str, Any]:
    names = [[f"f{n}_{k}" for k in range(FEATURES)] for n in range(VIEWS)]
    views = [_view(f"view{n}", tables / f"view{n}.parquet", names[n]) for n in range(VIEWS)]
    store = _store(tables, views)
    labels = pd.read_parquet(tables / "labels.parquet").rename(columns={"at": "event_timestamp"})
    references = [f"view{n}:{name}" for n in range(VIEWS) for name in names[n]]
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        found = store.get_historical_features(entity_df=labels, features=references).to_arrow()
        seconds.append(time.perf_counter() - started)
    features = found.to_pandas()[[reference.partition(":")[2] for reference in references]]
    return {
        "seconds": min(seconds),
        "rows": len(features),
        "nulls": int(features.isna().sum().sum()),
        "sum": float(np.nansum(features.to_numpy())),
    }


def materialise(tables: Path) -> dict[str, Any]:
    store = _store(tables, [_wide(tables)])
    started = time.perf_counter()
    store.materialize(datetime(2023, 12, 1, tzinfo=UTC), datetime.now(UTC))
    return {"seconds": time.perf_counter() - started}


def online(tables: Path) -> dict[str, Any]:
    store = _store(tables, [_wide(tables)])
    store.materialize(datetime(2023, 12, 1, tzinfo=UTC), datetime.now(UTC))
    references, random, figures = [f"wide:f{n}" for n in range(WIDE)], np.random.default_rng(0), {}
    for entities, times in ((1, 500), (100, 100)):
        taken = []
        for _ in range(times):
            rows = [{"driver": int(key)} for key in random.integers(0, ENTITIES, entities)]
            started = time.perf_counter()
            store.get_online_features(features=references, entity_rows=rows).to_dict()
            taken.append(time.perf_counter() - started)
        figures[f"microseconds_{entities}"] = float(np.median(taken)) * 1e6
    return figures


def _wide(tables: Path) -> FeatureView:
    return _view("wide", tables / "wide.parquet", [f"f{n}" for n in range(WIDE)])


def _view(name: str, path: Path, features: list[str]) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[ENTITY],
        ttl=timedelta(days=7) if name.startswith("view") else timedelta(days=100_000),
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(name=f"{name}_source", path=str(path), timestamp_field="at"),
    )


def _store(tables: Path, views: list[FeatureView]) -> FeatureStore:
    folder = tables / "feast"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(REPOSITORY)
    store = FeatureStore(repo_path=str(folder))
    store.apply([ENTITY, *views])
    return store


if __name__ == "__main__":
    work = {one.__name__: one for one in (join, materialise, online)}[sys.argv[1]]
    Path(sys.argv[3]).write_text(json.dumps({"version": feast.__version__, **work(Path(sys.argv[2]))}))
