"""The floor of a point-in-time join: Polars' join_asof on prepared columns. python polars_peer.py join TABLES OUTPUT

Prepared is sorted by entity and time, as Carrara's lake keeps a view; reading it is part of the work.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))
from tables import VIEWS


def join(tables: Path) -> dict[str, object]:
    for view in range(VIEWS):
        rows = pl.read_parquet(tables / f"view{view}.parquet").sort("driver", "at")
        rows.write_parquet(tables / f"prepared{view}.parquet")
    labels = pl.read_parquet(tables / "labels.parquet").sort("at")
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        joined = []
        for view in range(VIEWS):
            rows = pl.read_parquet(tables / f"prepared{view}.parquet")
            found = labels.join_asof(rows, on="at", by="driver", tolerance="7d", check_sortedness=False)
            joined.append(found.drop("driver", "at"))
        result = pl.concat(joined, how="horizontal")
        seconds.append(time.perf_counter() - started)
    nulls, total = result.null_count().sum_horizontal().item(), float(result.sum().sum_horizontal().item())
    return {"seconds": min(seconds), "nulls": nulls, "sum": total}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps({"version": pl.__version__, **join(Path(sys.argv[2]))}))
