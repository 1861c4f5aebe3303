"""How fast the web page is over a large store: `python benchmarks/ui/pages.py [--work FOLDER] [--runs N] …`.

It makes, once, a workspace with 100,000 runs, 10,000 features, 10,000 model versions and 1,000 dataset versions by
writing a trained model's records many times under other names; then it starts the server and asks for every page, one
request at a time, over HTTP on loopback. Server time is from the request's last byte to the answer's.
"""

from __future__ import annotations

import argparse
import http.client
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from carrara.core.identity import new_ids
from carrara.metadata.store import Metadata
from carrara.metadata.tables import lineage, run_metrics, runs, versions
from carrara.ui.server import UiServer
from carrara.workspace.workspace import Workspace
from trips import write_workspace

VIEWS = 100
_PORT = 8797
WORDS = ("orders", "delay", "price", "weather", "visits", "rating", "stock", "speed", "age", "clicks")


def make(folder: Path, many_runs: int, features: int, model_versions: int) -> None:
    write_workspace(folder)
    with Workspace(folder) as workspace:
        workspace.train("late")
        workspace.deploy("late@1")
        workspace.features.materialise(until=datetime(2024, 1, 30, tzinfo=UTC))
        trips = workspace.datasets.read("trips").tail(200).collect().to_dicts()
        names = ("driver", "depot", "city", "distance")
        asked = [
            {**{n: str(row[n]) if n != "distance" else row[n] for n in names}, "event_time": row["at"]} for row in trips
        ]
        workspace.predict("late@1", asked, log=True)
        workspace.monitoring.run("late")
        multiply(workspace.stores.metadata, many_runs, model_versions)
    with (folder / "definitions.py").open("a") as file:
        file.write(declared(features))


def declared(features: int) -> str:
    """Feature views by the hundred, with names and descriptions to search."""
    chosen = random.Random(7)
    parts = []
    for view in range(VIEWS):
        names = [f"{chosen.choice(WORDS)}_{chosen.choice(WORDS)}_{n}" for n in range(features // VIEWS)]
        types = ", ".join(f'"{name}": "float64"' for name in names)
        parts.append(
            f"view_{view} = carrara.FeatureView(\n    'view_{view}', function=passed, entity='driver',\n"
            f"    source='trips', event_time='at', features={{{types}}},\n"
            f"    owner='team_{view % 9}', tags=('t{view % 7}',),\n"
            f"    description='The {WORDS[view % 10]} of view {view}.',\n)\n"
        )
    return "\n\ndef passed(trips):\n    return trips\n\n\n" + "".join(parts)


def multiply(metadata: Metadata, many_runs: int, model_versions: int) -> None:
    """Rows as training leaves them, at random times of a year."""
    chosen = np.random.default_rng(7)
    now = time.time_ns() // 1_000
    began = np.sort(now - chosen.integers(0, 365 * 86_400_000_000, many_runs)).tolist()
    ids = new_ids(many_runs)
    kinds, states = ["train", "ingest", "compute", "schedule"], ["complete"] * 18 + ["failed", "stopped"]
    rows = [
        {
            "id": ids[n],
            "kind": kinds[n % 4],
            "name": f"model_{n % 1_000}",
            "state": states[n % 20],
            "user": f"user_{n % 30}",
            "started_at": began[n],
            "ended_at": began[n] + 5_000_000,
            "parameters": {"trials": 0, "workers": 1},
            "error": "ValueError: a made-up failure" if n % 20 == 18 else None,
            "host": "somewhere",
            "process": 1,
            "began": "then",
        }
        for n in range(many_runs)
    ]
    with metadata.begin() as connection:
        late = connection.execute(select(versions).where(versions.c.kind == "model")).mappings().first()
        trips = (
            connection.execute(select(versions).where(versions.c.kind == "dataset", versions.c.name == "trips"))
            .mappings()
            .first()
        )
        assert late is not None
        assert trips is not None
        for start in range(0, len(rows), 10_000):
            connection.execute(insert(runs), rows[start : start + 10_000])
        made = [
            {
                **late,
                "key": None,
                "name": f"model_{n % 1_000}",
                "version": n // 1_000 + 1,
                "run_id": ids[-n - 1],
                "created_at": began[-n - 1],
            }
            for n in range(model_versions)
        ]
        made += [
            {**trips, "key": None, "name": f"table_{n % 100}", "version": n // 100 + 1, "created_at": began[n]}
            for n in range(1_000)
        ]
        connection.execute(insert(versions), made)
        edges = [
            {
                "source": f"training_set:model_{n % 1_000}@{n // 1_000 + 1}",
                "target": f"model:model_{n % 1_000}@{n // 1_000 + 1}",
                "run_id": ids[-n - 1],
                "at": began[-n - 1],
            }
            for n in range(model_versions)
        ]
        connection.execute(insert(lineage), edges)
        points = [
            {"run_id": ids[-1], "name": "loss", "step": n, "value": 1 / (n + 1), "at": began[-1]} for n in range(2_000)
        ]
        connection.execute(insert(run_metrics), points)


def pages(workspace: Workspace) -> dict[str, list[str]]:
    """Addresses by page: several of each, so that nothing is fast because it was kept."""
    newest = workspace.runs(limit=100)
    some = range(0, 1_000, 40)
    prediction = workspace.predictions("late")["prediction_id"][:5]
    searches = [
        "orders",
        "delay price",
        "weather",
        "stock spe",
        "cli",
        "age rating",
        "view_42",
        "o",
        "visits_orders",
        "zzz",
    ]
    return {
        "overview": ["/"],
        "datasets": ["/datasets", "/datasets?q=table_9", "/datasets?page=2"],
        "dataset": [f"/datasets/table_{n}" for n in range(20)],
        "dataset diff": [f"/datasets/table_{n}/diff" for n in range(10)],
        "features": ["/features", *(f"/features?page={n}" for n in (2, 50, 200)), "/features?entity=driver"],
        "feature search": [f"/features?q={text.replace(' ', '+')}" for text in searches],
        "feature": ["/features/depot_state:load", "/features/driver_trips:delay_mean_6h"],
        "feature over time": ["/features/depot_state:load/over-time"],
        "runs": ["/runs", "/runs?kind=train", "/runs?state=failed", "/runs?page=1999", "/runs?name=model_7"],
        "run": [f"/runs/{run.id}" for run in newest[:20]],
        "runs compared": [f"/runs/compare?run={a.id}&run={b.id}" for a, b in pairwise(newest)][:20],
        "models": ["/models", "/models?q=model_9", "/models?page=20"],
        "model": [f"/models/model_{n}" for n in some],
        "model version": [f"/models/model_{n}/3" for n in some],
        "model comparison": [f"/models/model_{n}/compare" for n in some],
        "trees": ["/models/late/1/trees"],
        "endpoints": ["/endpoints"],
        "endpoint": ["/endpoints/late"],
        "monitoring": ["/monitoring"],
        "monitor": ["/monitoring/late/1"],
        "prediction": [f"/monitoring/late/1/predictions/{one}" for one in prediction],
        "lineage": [f"/lineage?of=model:model_{n}@3" for n in some] + ["/lineage?of=model:late@1"],
        "schedules": ["/schedules"],
        "audit": ["/audit", "/audit?action=deploy"],
    }


def measure(server: UiServer, token: str, path: str) -> tuple[float, float, int]:
    """Seconds of the clock, of this process's CPUs (which others on the machine do not change), and bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    start, worked = time.perf_counter(), time.process_time()
    connection.request("GET", path, headers={"authorization": f"Bearer {token}", "accept": "text/html"})
    answer = connection.getresponse()
    body = answer.read()
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    connection.close()
    assert answer.status == 200, (path, answer.status, body[-400:])
    return seconds, worked, len(body)


def cold_start(folder: Path) -> float:
    """Seconds from the command to the link that it prints when the page answers, imports among them."""
    command = [sys.executable, "-m", "carrara", "ui", "--workspace", str(folder), "--port", str(_PORT)]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                break
        seconds = time.perf_counter() - begun
        process.terminate()
    return seconds


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--work", type=Path, default=Path("/tmp/carrara-ui-benchmark"))
    options.add_argument("--runs", type=int, default=100_000)
    options.add_argument("--features", type=int, default=10_000)
    options.add_argument("--versions", type=int, default=10_000)
    options.add_argument("--requests", type=int, default=40)
    options.add_argument("--warm", type=float, default=10.0)
    options.add_argument("--anew", action="store_true")
    chosen = options.parse_args()
    folder = chosen.work / "workspace"
    if chosen.anew:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        make(folder, chosen.runs, chosen.features, chosen.versions)
    print(f"start, from the command to the link, the best of 3: {min(cold_start(folder) for _ in range(3)):.2f} s")
    begun = time.perf_counter()
    with Workspace(folder) as workspace:
        server = UiServer(workspace)
        server.start()
        print(f"start, imports aside: {time.perf_counter() - begun:.2f} s")
        _, token = workspace.access.create_token(f"benchmark {time.time_ns()}", "viewer")
        time.sleep(chosen.warm)  # The catalogue and the freshness are looked up beside.
        print(
            f"| {'page':<18} | first ms | p50 ms | p95 ms | p50 CPU ms | most KB |\n"
            "| --- | --- | --- | --- | --- | --- |"
        )
        worst = 0.0
        for name, paths in pages(workspace).items():
            first, _, size = measure(server, token, paths[0])
            found = [measure(server, token, paths[n % len(paths)]) for n in range(max(chosen.requests, len(paths)))]
            times = np.array([seconds for seconds, _, _ in found]) * 1e3
            cpu = float(np.median([worked for _, worked, _ in found])) * 1e3
            p50, p95 = np.percentile(times, [50, 95])
            worst = max(worst, p95)
            most = max(size, *(length for _, _, length in found)) / 1e3
            print(f"| {name:<18} | {first * 1e3:.0f} | {p50:.0f} | {p95:.0f} | {cpu:.0f} | {most:.0f} |", flush=True)
        print(f"slowest p95: {worst:.0f} ms")
        server.stop()


if __name__ == "__main__":
    main()
