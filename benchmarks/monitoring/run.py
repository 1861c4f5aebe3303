"""The prediction log, drift and outcomes, with Evidently beside drift on a size that it can finish.

python benchmarks/monitoring/run.py [--rows 10000000] [--features 30] [--tasks hot,lake,single,drift,outcomes,evidently]
                                    [--evidently-rows 1000000] [--work FOLDER]

Each task runs alone in a process of its own; memory is the peak of that process (read from /proc, so on Linux). One
feature in ten of the window is shifted. For 3 M rows × 1,000 features: --rows 3000000 --features 1000 --tasks drift.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Peer, environment, last_lines, table, watched

HERE = Path(__file__).parent
EVIDENTLY = Peer("evidently_peer.py", ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1"))
_TRAINING_ROWS = 50_000
_CHUNK_VALUES = 8_000_000
MOST_ROWS = {"hot": 50_000, "lake": 1_000_000, "single": 200_000}


def write_tables(folder: Path, rows: int, features: int) -> None:
    """A training sample, and a window of which every tenth feature is shifted; as in a log, in many files."""
    window = folder / "window"
    window.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    _chunk(random, _TRAINING_ROWS, features, shifted=False).write_parquet(folder / "training.parquet")
    size = max(_CHUNK_VALUES // features, 1_000)
    for number, start in enumerate(range(0, rows, size)):
        part = _chunk(random, min(size, rows - start), features, shifted=True)
        part.write_parquet(window / f"{number:06}.parquet", compression="lz4")


def _chunk(random: np.random.Generator, rows: int, features: int, *, shifted: bool) -> pl.DataFrame:
    columns = {
        f"view:f{number}": random.normal(0.5 if shifted and number % 10 == 0 else 0.0, 1.0, rows)
        for number in range(features)
    }
    return pl.DataFrame(columns)


def write_outcomes(folder: Path, rows: int) -> None:
    """Predictions by id, and an outcome for each of them in the lake's table, in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = pl.Series([f"01932f4a-7c00-7000-8000-{number:012x}" for number in range(rows)])
    times = pl.repeat(1_704_067_200_000_000, rows, dtype=pl.Int64, eager=True).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"prediction_id": ids, "event_time": times}).write_parquet(folder / "index.parquet")

    def parts() -> Iterator[pl.DataFrame]:
        order = np.random.default_rng(0).permutation(rows)
        for start in range(0, rows, 1_000_000):
            places = order[start : start + 1_000_000]
            yield pl.DataFrame(
                {
                    "prediction_id": ids[places],
                    "__outcome": pl.Series(places % 2).cast(pl.Int8),
                    "__known_at": times[: len(places)],
                    "received_at": times[: len(places)],
                }
            )

    for part in parts():
        write_deltalake(str(folder / "lake" / "outcomes" / "bench"), part, mode="append")


def measured(command: list[str]) -> dict[str, str]:
    code, peak, said = watched(command)
    if code:
        return {"error": last_lines(said)}
    figures = json.loads(said.strip().splitlines()[-1])
    return {**{k: f"{v:,.6g}" for k, v in figures.items()}, "peak": f"{peak / 2**20:,.0f} MiB"}


def main(rows: int, features: int, tasks: list[str], peer_rows: int, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    lines: list[tuple[str, ...]] = [("task", "size", "figures")]
    for task in tasks:
        size = peer_rows if task == "evidently" else rows
        place = tempfile.TemporaryDirectory(dir=work)
        folder = Path(place.name)
        if task == "evidently":
            write_tables(folder, size, features)
            # The same, beside it on the same size.
            ours = _task("drift", folder, size, features)
            lines.append(("drift", f"{size:,} × {features}", _figures(ours)))
            python = environment("evidently", EVIDENTLY, work)
            found = measured([str(python), str(HERE / EVIDENTLY.script), str(folder)])
            if "seconds" in ours and "seconds" in found:
                found["times as long"] = f"{_number(found['seconds']) / _number(ours['seconds']):.1f}"
        else:
            if task == "drift":
                write_tables(folder, size, features)
            elif task == "outcomes":
                write_outcomes(folder, size)
            size = min(size, MOST_ROWS.get(task, size))
            found = _task(task, folder, size, features)
        place.cleanup()
        lines.append((task, f"{size:,} × {features}", _figures(found)))
        print("\n".join(table(lines)), flush=True)


def _task(task: str, folder: Path, rows: int, features: int) -> dict[str, str]:
    return measured([sys.executable, str(HERE / "tasks.py"), task, str(folder), str(rows), str(features)])


def _number(figure: str) -> float:
    return float(figure.replace(",", ""))


def _figures(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--tasks", default="hot,lake,single,drift,outcomes,evidently")
    parser.add_argument("--evidently-rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-benchmarks")
    asked = parser.parse_args()
    main(asked.rows, asked.features, asked.tasks.split(","), asked.evidently_rows, asked.work)
