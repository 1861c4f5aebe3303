"""The limits of a fit: how it ends where memory does, and what the record of its run says then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from carrara.core.errors import ConfigurationError, TrainingError
from carrara.core.memory import bytes_of, resident_bytes, watched
from carrara.workspace.workspace import Workspace
from commands import carrara

TRAINER = '''

@carrara.trainer
def hungry(train, validation, task, megabytes=0, rounds=False, impossible=False):
    """Takes memory, and waits to be ended."""
    import time

    if impossible:
        np.ones(2**44)
    taken = [np.ones(125_000 * megabytes)]
    number, until = 0, time.monotonic() + 60
    while time.monotonic() < until:
        number += 1
        if rounds:
            task.report(number, 1.0)
        else:
            taken.append(np.ones(1_250_000))
    raise RuntimeError(f"nobody ended it, with {len(taken)} parts")


late = carrara.Model('''


def declared(folder: Path, arguments: str, limit: str) -> None:
    path = folder / "definitions.py"
    text = path.read_text().replace("\nlate = carrara.Model(", TRAINER, 1)
    text = text.replace('    "late",\n', f'    "late",\n    memory_limit="{limit}",\n', 1)
    path.write_text(text.replace("carrara.XGBoost(trees=40, depth=3)", f"hungry({arguments})"))


def test_a_fit_that_takes_more_than_its_limit_ends_after_its_round(fresh):
    declared(fresh.root, "megabytes=130, rounds=True", "100MB")
    with Workspace(fresh.root) as workspace:
        with pytest.raises(TrainingError, match=r"(?s)took 1\d\d MB, and its memory limit is 100MB, when \S+ rounds"):
            workspace.train("late")
        run = workspace.runs("train")[0]
        assert run.state == "failed"
        assert "memory limit is 100MB" in run.error
        assert max(value for _, value in workspace.run_metrics(run.id)["memory (MB)"]) > 100


def test_a_fit_that_grows_in_the_middle_of_a_round_is_ended_with_its_process(fresh):
    declared(fresh.root, "", "100MB")
    words = [sys.executable, "-m", "carrara", "train", "late", "-w", str(fresh.root)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 137
    assert "its process was ended in the middle of a round" in done.stderr
    (run,) = json.loads(carrara("run", "list", "--kind", "train", "--json", "-w", fresh.root).stdout)
    assert run["state"] == "failed"
    told = carrara("run", "show", run["id"], "-w", fresh.root).stdout
    assert "memory limit is 100MB" in told
    assert " at most" in told


def test_memory_that_there_is_not_is_said(fresh):
    declared(fresh.root, "impossible=True", "4GB")
    with Workspace(fresh.root) as workspace:
        with pytest.raises(TrainingError, match=r"(?s)no memory left for the fit of 'late': Unable.*on less"):
            workspace.train("late")
        assert workspace.runs("train")[0].state == "failed"


def test_the_memory_of_a_block_is_watched():
    before = resident_bytes()
    with watched(lambda held: None) as watch:
        values = np.ones(10_000_000)
    assert watch.most > before + values.nbytes // 2
    assert bytes_of("4GB") == 4_000_000_000
    with pytest.raises(ConfigurationError, match=r"(?s)'4 gigs' is not an amount.*4GB"):
        bytes_of("4 gigs")
