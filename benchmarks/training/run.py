"""Training: a fit by Carrara beside the same library called by hand, on the same Parquet file.

python benchmarks/training/run.py [--rows 1000000] [--trainers xgboost,lightgbm,linear,torch]

Each fit is alone in a process of its own, the faster of two. Seconds are those from the table in memory to the model
that can be asked: by hand a matrix and a fit, by Carrara the checks, the matrix, the fit, the export to ONNX and its
proof.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import last_lines, table, watched

COLUMNS = 30


def main(rows: int, trainers: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.parquet"
        write_rows(data, rows)
        shown = [("trainer", "hand s", "carrara s", "× time", "hand GB", "carrara GB", "× memory")]
        for name in trainers:
            hand, ours = (_best(name, how, data) for how in ("hand", "carrara"))
            ratios = ours["seconds"] / hand["seconds"], ours["gb"] / hand["gb"]
            figures = (hand["seconds"], ours["seconds"], ratios[0], hand["gb"], ours["gb"], ratios[1])
            shown.append((name, *(f"{figure:.3g}" for figure in figures)))
        print("\n".join(table(shown)))


def write_rows(path: Path, rows: int) -> None:
    """Normal features, of which five tell of a binary label."""
    random = np.random.default_rng(0)
    features = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    margin = features[:, :5] @ np.array([1.0, -1.0, 0.5, 0.5, 0.25], np.float32) + features[:, 0] * features[:, 1]
    frame = pl.DataFrame({f"v:f{n}": features[:, n] for n in range(COLUMNS)})
    label = pl.Series("label", margin + random.normal(size=rows) > 0)
    frame.with_columns(label, at=pl.lit("2024-01-01T00:00:00Z").str.to_datetime(time_zone="UTC")).write_parquet(path)


def _best(trainer: str, how: str, data: Path) -> dict[str, float]:
    """The faster of two fits."""
    return min((_measured(trainer, how, data) for _ in range(2)), key=lambda one: one["seconds"])


def _measured(trainer: str, how: str, data: Path) -> dict[str, float]:
    output = data.with_name("result.json")
    script = Path(__file__).with_name("fit.py")
    code, peak, said = watched([sys.executable, str(script), trainer, how, str(data), str(output)])
    if code:
        raise RuntimeError(f"{trainer} by {how}: exit status {code}: {last_lines(said)}")
    return {**json.loads(output.read_text()), "gb": peak / 1e9}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--trainers", default="xgboost,lightgbm,linear,torch")
    given = parser.parse_args()
    main(given.rows, given.trainers.split(","))
