"""The registry at 10,000 versions of 50 parameters and 100 metrics each: register, list, filter, sort, open.

python benchmarks/evaluation/registry.py [--versions 10000] [--mlflow PYTHON] [--postgresql URL]

Times are medians. With --mlflow, another Python that has MLflow logs the same to SQLite: parameters and metrics in one
batch, a small artifact, and a version of a registered model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from harness import table

from carrara.metadata.model_search import Page, count_models
from carrara.models.registry import list_models, read_record, resolve
from tiny_models import add_tiny, stores_at

PEER = Path(__file__).parent / "peers" / "mlflow_registry.py"
PARAMETERS = {f"p{number}": number * 0.5 for number in range(50)}
PER_MODEL = 1_000


def metrics(number: int) -> dict[str, float]:
    return {f"m{place}": (number * 31 + place * 17) % 1_000 / 1_000 for place in range(100)}


def main(versions: int, mlflow: str | None, url: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = stores_at(url or f"sqlite:///{folder}/m.db", folder)
        times = []
        for number in range(versions):
            begun = time.perf_counter()
            add_tiny(
                stores,
                f"model{number // PER_MODEL}",
                learned=str(number).encode(),
                parameters=PARAMETERS,
                owner=f"owner{number % 7}",
                **metrics(number),
            )
            times.append(time.perf_counter() - begun)
        condition = 'metrics.m7 > 0.9 and parameters.p3 = 1.5 and owner = "owner3"'
        rows = [("register one", statistics.median(times[-200:]))]
        asked: dict[str, Callable[[], object]] = {
            "the newest 50": lambda: [one.metrics for one in list_models(stores, page=Page(limit=50))],
            "all versions, metrics not read": lambda: list_models(stores),
            "50 of those that meet a condition of three": lambda: list_models(stores, page=Page(condition, limit=50)),
            "all that meet it": lambda: list_models(stores, page=Page(condition)),
            "how many meet it": lambda: count_models(stores.metadata, None, condition),
            "the best 50 by a metric": lambda: list_models(stores, page=Page(sort="-metrics.m5", limit=50)),
            "open a record": lambda: read_record(stores, resolve(stores, "model0@7")),
        }
        rows += [(what, _median(work)) for what, work in asked.items()]
        if mlflow:
            peer = [mlflow, str(PEER), json.dumps(PARAMETERS), json.dumps(metrics(3))]
            done = subprocess.run(peer, capture_output=True, text=True, check=True, cwd=folder)
            rows.append(("MLflow, the same to SQLite", float(done.stdout.split()[-1])))
            rows.append(("… how many times as long", rows[-1][1] / rows[0][1] / 1_000))
        shown = [(f"{versions:,} versions", "ms"), *((what, f"{seconds * 1_000:,.1f}") for what, seconds in rows)]
        print("\n".join(table(shown)))
        stores.close()


def _median(work: Callable[[], object], turns: int = 7) -> float:
    work()
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--mlflow", help="a Python that has mlflow")
    parser.add_argument("--postgresql", help="a URL of an empty database")
    asked = parser.parse_args()
    main(asked.versions, asked.mlflow, asked.postgresql)
