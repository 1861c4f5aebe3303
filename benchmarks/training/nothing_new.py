"""A train of which nothing has changed: seconds of the whole command, from the shell to its end (asked: 2).

python benchmarks/training/nothing_new.py [--rows 100000]

A workspace of one table is made and trained once; then the same command again, the fastest of five.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import write_rows

CARRARA = [sys.executable, "-m", "carrara"]


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        data, folder = Path(name) / "rows.parquet", Path(name) / "workspace"
        write_rows(data, rows)
        made = [*CARRARA, "init", str(folder), "--data", str(data), "--label", "label", "--trainer", "xgboost"]
        subprocess.run(made, check=True, capture_output=True)
        first, *again = (_seconds(folder) for _ in range(6))
    print(f"the first train {first:.1f} s, with nothing to do {min(again):.2f} s")


def _seconds(folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run([*CARRARA, "train", "label", "--workspace", str(folder)], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    main(parser.parse_args().rows)
