"""Checkpoints of trees: a killed fit goes on to the same end, and a checkpoint that is damaged or cannot be written is
said, and costs no run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carrara.core.errors import TrainingError
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.trainers import trees
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.lightgbm import LightGBM
from carrara.training.trainers.xgboost import XGBoost
from carrara.workspace.workspace import Workspace
from commands import carrara

RANDOM = np.random.default_rng(1)
FEATURES = RANDOM.normal(size=(1_000, 4)).astype(np.float32)
SIGNAL = FEATURES[:, 0] + FEATURES[:, 1] * FEATURES[:, 2] + RANDOM.normal(0, 0.5, 1_000)
LABELS = {
    "binary": (SIGNAL > 0).astype(np.float32),
    "regression": SIGNAL.astype(np.float32),
    "multiclass": np.digitize(SIGNAL, (-1, 1)).astype(np.float32),
}
TRAINERS = (XGBoost(trees=12, depth=4), LightGBM(trees=12, leaves=12))


@pytest.fixture(autouse=True)
def at_every_round(monkeypatch):
    monkeypatch.setattr(trees, "CHECKPOINT_SECONDS", 0.0)


def fitted(trainer, kind: str, checkpoint: FileCheckpoint, killed_after: int | None = None, **task):
    def report(number: int, loss: float) -> None:
        if number == killed_after:
            raise KeyboardInterrupt

    names = tuple("abcd")
    classes = ("low", "middle", "high") if kind == "multiclass" else ()
    whole = Task(kind, names, classes, report=report, checkpoint=checkpoint, **task)
    parts = (Part(FEATURES[part], LABELS[kind][part]) for part in (slice(0, 700), slice(700, None)))
    return trainer.fit(*parts, whole)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(trainer, kind, tmp_path):
    whole = fitted(trainer, kind, FileCheckpoint(tmp_path / "whole"))
    checkpoint = FileCheckpoint(tmp_path / "killed")
    for killed_after in (3, 9):
        with pytest.raises(KeyboardInterrupt):
            fitted(trainer, kind, checkpoint, killed_after)
    resumed = fitted(trainer, kind, checkpoint)
    assert resumed.native == whole.native
    assert resumed.learned == whole.learned
    assert resumed.curve == whole.curve
    assert resumed.summary == whole.summary


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)
def test_a_fit_that_had_stopped_early_ends_where_it_had(trainer, tmp_path):
    early = replace(trainer, trees=400, learning_rate=0.5, early_stopping=5)
    checkpoint = FileCheckpoint(tmp_path / "one")
    whole = fitted(early, "binary", checkpoint)
    again = fitted(early, "binary", checkpoint)
    assert len(whole.curve["train"]) < 400
    assert (again.native, again.curve) == (whole.native, whole.curve)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)
def test_a_fit_by_samples_says_that_it_took_others(trainer, tmp_path):
    sampled, checkpoint = replace(trainer, row_share=0.7), FileCheckpoint(tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        fitted(sampled, "binary", checkpoint, killed_after=9)
    resumed = fitted(sampled, "binary", checkpoint)
    assert (resumed.summary["samples_anew_after"], resumed.summary["trees_tried"]) == (9, 12)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)
def test_a_warm_start_goes_on_from_its_own_checkpoint(trainer, tmp_path):
    start = fitted(trainer, "binary", FileCheckpoint(tmp_path / "start")).learned
    whole = fitted(trainer, "binary", FileCheckpoint(tmp_path / "whole"), start=start)
    checkpoint = FileCheckpoint(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        fitted(trainer, "binary", checkpoint, killed_after=7, start=start)
    assert fitted(trainer, "binary", checkpoint, start=start).native == whole.native


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    """D13."""
    checkpoint = FileCheckpoint(tmp_path / "one")
    for text in (b"first", b"second", b"third"):
        checkpoint.write(text)
    whole = (tmp_path / "one").read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"?", b"", b"\xff\xfe"):
        (tmp_path / "one").write_bytes(damaged)
        found = FileCheckpoint(tmp_path / "one")
        assert found.read() == b"second"
        assert "was damaged, and the one before it taken" in found.notes[0]
    (tmp_path / "one.former").write_bytes(b"")
    assert FileCheckpoint(tmp_path / "one").read() is None
    checkpoint.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_was_killed_between_its_renames_is_the_one_before(tmp_path):
    """F23."""
    checkpoint = FileCheckpoint(tmp_path / "one")
    checkpoint.write(b"first")
    os.replace(tmp_path / "one", tmp_path / "one.former")
    (tmp_path / "one.123.partial").write_bytes(b"half of the sec")
    found = FileCheckpoint(tmp_path / "one")
    assert (found.read(), found.notes) == (b"first", ())


def test_a_loss_that_is_no_number_ends_the_fit(tmp_path, monkeypatch):
    rounds = trees.Rounds(Task("binary", ("a",)), 10, 3)
    with pytest.raises(TrainingError, match=r"(?s)the loss is nan after 1 trees.*smaller learning_rate"):
        rounds.ended(0.3, float("nan"), lambda: b"")


KILLED = """
import sys
from carrara.training.trainers import trees
trees.CHECKPOINT_SECONDS = 0.0
from carrara.cli.main import run
run()
"""


@pytest.mark.parametrize(
    "trainer",
    [
        "XGBoost(trees=200, depth=3, early_stopping=200)",
        pytest.param("LightGBM(trees=200, leaves=7, early_stopping=200)", marks=pytest.mark.slow),
    ],
)
def test_kill_9_in_the_middle_of_trees_and_training_again_ends_with_the_same_model(fresh, tmp_path, trainer):
    declared(fresh.root, trainer)
    fresh.close()
    shutil.copytree(fresh.root, tmp_path / "other")
    words = ["train", "late", "--json", "-w"]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words, str(fresh.root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoints = fresh.root / ".carrara" / "checkpoints"
    while not (checkpoints.exists() and [path for path in checkpoints.iterdir() if path.suffix == ".former"]):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for folder in (fresh.root, tmp_path / "other"):
        done = carrara(*words, folder)
        assert done.returncode in (0, 3), done.stderr
    with Workspace(fresh.root) as killed, Workspace(tmp_path / "other") as whole:
        one, other = (ws.models.record("late@1") for ws in (killed, whole))
        states = [run.state for run in killed.runs("train")]
    assert states == ["complete", "lost"]
    assert one["parameters"]["learned"] == other["parameters"]["learned"]
    assert one["summary"]["curve"] == other["summary"]["curve"]
    assert [path for path in checkpoints.iterdir() if path.suffix != ".partial"] == []


def test_a_fit_whose_checkpoints_cannot_be_written_goes_on_and_says_so(fresh):
    """F23."""
    folder = fresh.root / ".carrara"
    folder.mkdir(exist_ok=True)
    (folder / "checkpoints").write_text("in the way")
    fresh.train("late")
    record = fresh.models.record("late@1")
    assert any("checkpoints could not be written" in warning for warning in record["summary"]["warnings"])


def declared(folder: Path, trainer: str) -> None:
    text = (folder / "definitions.py").read_text()
    (folder / "definitions.py").write_text(text.replace("XGBoost(trees=40, depth=3)", trainer))
