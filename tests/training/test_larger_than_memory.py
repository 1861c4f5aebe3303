"""A training set of which the whole is never in memory: a fit that would load it takes more than it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROWS, COLUMNS = 3_600_000, 30
MATRIX_BYTES = ROWS * COLUMNS * 4

FIT = """
import sys
from pathlib import Path
import carrara
sys.path.insert(0, {benchmarks!r})
import large
from carrara.training import feeds, inputs
from carrara.training.trainers import xgboost_data
for module in (feeds, inputs, xgboost_data):
    module.MOST_IN_MEMORY = 3_000_000
xgboost_data._BATCH_ROWS = 131_072
large.BATCH = 131_072
large.TRAINERS["xgboost"] = carrara.XGBoost(trees=2, early_stopping=2)
# What a first fit imports is the same for every number of rows.
large.main(Path(sys.argv[1] + ".few"), 20_000, sys.argv[2])
print(large.main(Path(sys.argv[1]), {rows}, sys.argv[2]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("large") / "rows.parquet"


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["xgboost", "torch"])
def test_a_fit_takes_less_memory_than_its_matrix_has(data, trainer):
    benchmarks = str(Path(__file__).parents[2] / "benchmarks" / "training")
    script = FIT.format(benchmarks=benchmarks, rows=ROWS)
    done = subprocess.run([sys.executable, "-c", script, str(data), trainer], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taken = int(done.stdout.split()[-1])
    assert taken < MATRIX_BYTES * 0.75, f"{taken / 1e6:.0f} MB for a matrix of {MATRIX_BYTES / 1e6:.0f} MB"
