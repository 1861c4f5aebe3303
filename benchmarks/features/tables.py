"""Tables of made-up drivers, by a fixed seed: three views' rows, labels, and a wide table of the newest values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

ENTITIES, VIEWS, FEATURES, WIDE = 50_000, 3, 10, 30
START, SPAN = 1_704_067_200_000_000, 60 * 86_400_000_000
"""The first moment, and the length of the time that events are spread over, in microseconds."""


def write_join_tables(folder: Path, rows: int, labels: int) -> None:
    """`view0.parquet` … with `rows` rows each, and `labels.parquet`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for view in range(VIEWS):
        columns = {f"f{view}_{n}": random.normal(size=rows) for n in range(FEATURES)}
        frame = pl.DataFrame({"driver": random.integers(0, ENTITIES, rows), "at": _moments(random, rows), **columns})
        frame.unique(["driver", "at"], keep="first", maintain_order=True).write_parquet(folder / f"view{view}.parquet")
    asked = {"driver": random.integers(0, ENTITIES, labels), "at": _moments(random, labels)}
    pl.DataFrame(asked).write_parquet(folder / "labels.parquet")


def write_wide_table(path: Path, entities: int, features: int, seed: int = 0) -> None:
    """One row an entity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    at = pl.Series("at", np.full(entities, START + seed * 86_400_000_000)).cast(pl.Datetime("us", "UTC"))
    columns = {f"f{n}": random.normal(size=entities) for n in range(features)}
    pl.DataFrame({"driver": np.arange(entities), "at": at, **columns}).write_parquet(path)


def _moments(random: np.random.Generator, rows: int) -> pl.Series:
    return pl.Series(START + random.integers(0, SPAN, rows)).cast(pl.Datetime("us", "UTC"))
