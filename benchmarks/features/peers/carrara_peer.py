"""Carrara at one of the works of `run.py`: python carrara_peer.py WORK TABLES OUTPUT, as by default."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import carrara
from carrara.features.on_demand import run_on_demand
from carrara.features.retrieval import Retriever
from carrara.features.service import resolve_features
from carrara.features.training_set import join_features
from carrara.features.windows import Events, window_values
from carrara.workspace.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1]))
from tables import ENTITIES, FEATURES, SPAN, VIEWS, WIDE, write_wide_table

JOIN_VIEW = """
source{n} = carrara.Dataset("source{n}", source="view{n}.parquet")
@carrara.feature_view(entity="driver", source="source{n}", event_time="at", ttl="7d",
    features={{f"f{n}_{{k}}": "float64" for k in range({features})}})
def view{n}(rows):
    return rows
"""
WIDE_VIEW = """
source{n} = carrara.Dataset("source{n}", source="{file}")
@carrara.feature_view(entity="driver", source="source{n}", event_time="at", schedule="@daily",
    description="What is known of topic {n}", features={{f"f{{k}}": "float64" for k in range({features})}})
def wide{n}(rows):
    return rows
"""
HEAD = 'import carrara\n\ndriver = carrara.Entity("driver", keys=("driver",))\n'


def join(tables: Path) -> dict[str, Any]:
    """Features of the labels, from the lake's prepared tables; the join alone in a process of its own."""
    with _join_workspace(tables) as ws:
        ws.features.compute()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_joined, tables).result()


def _joined(tables: Path) -> dict[str, Any]:
    labels = pl.read_parquet(tables / "labels.parquet")
    with _join_workspace(tables) as ws:
        service = resolve_features(ws.definitions, tuple(f"view{n}" for n in range(VIEWS)), where="the benchmark")
        seconds = [_timed(lambda: join_features(ws.stores, service, labels, "at", where="labels")) for _ in range(3)]
        found = join_features(ws.stores, service, labels, "at", where="labels")
    # Not ru_maxrss, which has the peak of the process that started this one in it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    gigabytes = int(status["VmHWM"].split()[0]) / 1e6
    nulls = found.null_count().sum_horizontal().item()
    return {"seconds": min(seconds), "nulls": nulls, "sum": _sum(found), "join_gb": gigabytes}


def _join_workspace(tables: Path) -> Workspace:
    return _workspace(tables, "".join(JOIN_VIEW.format(n=n, features=FEATURES) for n in range(VIEWS)))


def windows(tables: Path) -> dict[str, Any]:
    """A million labels, a million events, three windows of count, mean and std."""
    random, rows, widths = np.random.default_rng(0), 1_000_000, ("1d", "7d", "30d")
    codes, times = np.sort(random.integers(0, ENTITIES, rows)), random.integers(0, SPAN, rows)
    order = np.lexsort((times, codes))
    events = Events(codes[order], times[order], times[order], {"x": random.normal(size=rows)})
    made = (carrara.count(windows=widths), carrara.mean("x", windows=widths), carrara.std("x", windows=widths))
    view = carrara.AggregateView("v", entity="e", source="s", event_time="at", aggregations=made)
    asked, at = random.integers(0, ENTITIES, rows), random.integers(0, SPAN, rows)
    return {"seconds": min(_timed(lambda: window_values(view, events, asked, at)) for _ in range(3))}


def materialise(tables: Path) -> dict[str, Any]:
    with _workspace(tables, WIDE_VIEW.format(n=0, file="wide.parquet", features=WIDE)) as ws:
        ws.features.compute()
        return {"seconds": _timed(lambda: ws.features.materialise())}


def online(tables: Path) -> dict[str, Any]:
    """Reads of all features of one entity, and of a hundred; the median in microseconds."""
    with _workspace(tables, WIDE_VIEW.format(n=0, file="wide.parquet", features=WIDE)) as ws:
        ws.features.compute()
        ws.features.materialise()
        reader = Retriever(resolve_features(ws.definitions, ("wide0",), where="the benchmark"), ws.stores.online)
        random, now = np.random.default_rng(0), int(time.time() * 1e6)
        figures = {}
        for entities in (1, 100):
            keys = [{"driver": random.integers(0, ENTITIES, entities)} for _ in range(2_000)]
            at = np.full(entities, now)
            figures[f"microseconds_{entities}"] = _median(lambda n, keys=keys, at=at: reader.features(keys[n], {}, at))
    return figures


def ten_thousand(tables: Path) -> dict[str, Any]:
    """10,000 features in 200 views over 10,000 entities: apply, a full daily update, a search."""
    folder = tables / "ten_thousand"
    for n in range(200):
        write_wide_table(folder / f"wide{n}.parquet", 10_000, 50)
    text = "".join(WIDE_VIEW.format(n=n, file=f"wide{n}.parquet", features=50) for n in range(200))
    with _workspace(folder, text) as ws:
        figures = {"apply": _timed(ws.apply)}
        ws.features.compute()
        ws.features.materialise()
        for n in range(200):
            write_wide_table(folder / f"wide{n}.parquet", 10_000, 50, seed=1)
        figures["ingest"] = _timed(ws.datasets.ingest)
        figures["compute"] = _timed(ws.features.compute)
        figures["materialise"] = _timed(ws.features.materialise)
        asked = ["topic 17", "wide3 f49", "driver f20", "nothing such"]
        figures["microseconds_search"] = _median(lambda n: ws.features.search(asked[n % len(asked)]), 40)
    return figures


def on_demand(tables: Path) -> dict[str, Any]:
    """What an on-demand view takes beyond its plain function, in microseconds."""
    view = carrara.on_demand_view(request={"a": "float64", "b": "float64", "c": "float64"}, features={"d": "float64"})(
        lambda a, b, c: {"d": a * b + c}
    )
    figures = {}
    for rows in (1, 100):
        columns = {name: np.random.default_rng(0).random(rows) for name in "abc"}
        plain = _median(lambda _, columns=columns: view.function(**columns))
        figures[f"microseconds_{rows}"] = _median(lambda _, c=columns: run_on_demand(view, c)) - plain
    return figures


def _workspace(folder: Path, definitions: str) -> Workspace:
    (folder / "carrara.toml").write_text("")
    (folder / "definitions.py").write_text(HEAD + definitions)
    return Workspace(folder)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _median(work: Callable[[int], Any], times: int = 2_000) -> float:
    return float(np.median([_timed(lambda n=n: work(n)) for n in range(times)])) * 1e6


def _sum(frame: pl.DataFrame) -> float:
    return float(frame.sum().sum_horizontal().item())


if __name__ == "__main__":
    work = {one.__name__: one for one in (join, windows, materialise, online, ten_thousand, on_demand)}[sys.argv[1]]
    Path(sys.argv[3]).write_text(json.dumps({"version": version("carrara"), **work(Path(sys.argv[2]))}))
