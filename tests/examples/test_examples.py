"""The examples as a user runs them: data, a training, a prediction."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.workspace.workspace import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples"


def made(name: str, folder: Path) -> Path:
    shutil.copytree(EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns(".carrara", "*.parquet"))
    subprocess.run([sys.executable, "make_data.py"], cwd=folder / name, check=True)
    return folder / name


def trained(folder: Path, model: str) -> None:
    command = [sys.executable, "-m", "carrara", "train", model, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["gates"]["passed"]


@pytest.mark.slow
def test_a_convolutional_net_reads_handwritten_digits(tmp_path):
    folder = made("digits", tmp_path)
    trained(folder, "digit")
    rows = pl.read_parquet(folder / "digits.parquet").tail(200)
    with Workspace(folder) as workspace:
        record = workspace.models.record("digit@1")
        assert record["metrics"]["test"]["accuracy"]["value"] > 0.93
        assert record["parameters"]["export"]["equal"]
        found = workspace.predict("digit@1", rows.select("image").to_dicts())
    told = np.array(found.rows["probabilities"].to_list()).argmax(axis=1)
    assert (told == rows["digit"].to_numpy()).mean() > 0.93


@pytest.mark.slow
def test_a_net_tells_a_library_by_its_docstrings(tmp_path):
    folder = made("docstrings", tmp_path)
    trained(folder, "library")
    with Workspace(folder) as workspace:
        assert workspace.models.record("library@1")["metrics"]["test"]["accuracy"]["value"] > 0.7
        texts = ["Return a new array of given shape and type, filled with zeros.", "Emit a SELECT statement."]
        found = workspace.predict("library@1", [{"text": text} for text in texts])
        classes = ["numpy", "polars", "rich", "sqlalchemy"]
    told = np.array(found.rows["probabilities"].to_list()).argmax(axis=1)
    assert [classes[place] for place in told] == ["numpy", "sqlalchemy"]
