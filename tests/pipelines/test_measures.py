"""What a fit measures: losses, and how long the steps of each process take, for a run's page and for TensorBoard."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from carrara.core.tfrecords import read_records
from carrara.metadata.run_metrics import RunMetrics
from carrara.pipelines.event_files import EventFiles, encode_event
from carrara.workspace.workspace import Workspace
from commands import carrara


def test_a_run_leaves_files_for_tensorboard_with_the_losses_of_its_record(trained):
    version = trained.models.get("late@1")
    curve = trained.models.record("late@1")["summary"]["curve"]
    for part in ("train", "validation"):
        (file,) = (trained.root / ".carrara" / "tensorboard" / version.run_id / part).iterdir()
        assert file.name.startswith("events.out.tfevents.")
        first, *events = read_records(file.read_bytes())
        assert first.endswith(b"brain.Event:2")
        # Behind the time and the step: the tag, and a float32.
        assert all(event.count(b"\x0a\x04loss\x15") == 1 for event in events)
        losses = [struct.unpack("<f", event[-4:])[0] for event in events]
        np.testing.assert_allclose(losses, curve[part][: len(losses)], rtol=1e-6)
        assert len(losses) == len(curve[part])


@pytest.mark.slow
def test_a_run_of_two_workers_makes_one_version_and_tells_how_each_of_them_went(fresh):
    text = (fresh.root / "definitions.py").read_text()
    net = "carrara.Torch(epochs=3, batch_rows=64), transforms=(carrara.Impute(), carrara.Standardise())"
    (fresh.root / "definitions.py").write_text(text.replace("carrara.XGBoost(trees=40, depth=3)", net))
    done = carrara("train", "late", "--workers", "2", "--min-workers", "1", "-w", fresh.root)
    assert done.returncode in (0, 3), done.stderr
    with Workspace(fresh.root) as workspace:
        assert [str(one) for one in workspace.models.versions("late")] == ["late@1"]
        (run,) = workspace.runs("train")
    assert (run.parameters["workers"], run.parameters["min_workers"]) == (2, 1)
    shown = json.loads(carrara("run", "show", run.id, "--json", "-w", fresh.root).stdout)
    assert [step for step, _ in shown["metrics"]["worker:1 step_ms"]] == [1, 2, 3]
    assert shown["slowest"]["process"] in ("worker:0", "worker:1")
    assert f"{shown['slowest']['process']} is the slowest" in carrara("run", "show", run.id, "-w", fresh.root).stdout
    folders = {folder.name for folder in (fresh.root / ".carrara" / "tensorboard" / run.id).iterdir()}
    assert folders == {"train", "validation", "worker-0", "worker-1"}


def test_a_value_that_no_float32_holds_is_the_largest_one():
    assert encode_event(0.0, 1, "loss", 1e300) == encode_event(0.0, 1, "loss", float(np.finfo(np.float32).max))
    assert np.isnan(struct.unpack("<f", encode_event(0.0, 1, "loss", float("nan"))[-4:])[0])


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "file").write_text("in the way")
    files = EventFiles(tmp_path / "file" / "run")
    files.add("validation loss", 1, 0.5)
    files.flush()


@pytest.mark.slow
def test_tensorflow_reads_the_files(tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    files = EventFiles(tmp_path)
    for step in (1, 300):
        files.add("worker:0 step_ms", step, step / 8)
    files.flush()
    (path,) = (tmp_path / "worker-0").iterdir()
    events = list(tensorflow.compat.v1.train.summary_iterator(str(path)))
    assert events[0].file_version == "brain.Event:2"
    found = [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in events[1:]]
    assert found == [(1, "step_ms", 0.125), (300, "step_ms", 37.5)]


def test_the_worker_that_works_longest_without_waiting_is_the_slowest():
    paced = {"worker:0 step_ms": 10.0, "worker:0 wait_ms": 8.0, "worker:1 step_ms": 10.0, "worker:1 wait_ms": 1.0}
    found = RunMetrics({name: [(1, value), (2, value)] for name, value in paced.items()}).slowest()
    assert str(found) == "worker:1 is the slowest: 9 ms a step, 4.50 times the others"


def test_where_nobody_sees_that_others_are_waited_for_it_is_the_one_that_used_its_processor_most():
    used = {"chief:0 cpu_s": 99.0, "worker:0 cpu_s": 3.0, "worker:1 cpu_s": 2.0, "worker:1 step_ms": 5.0}
    found = RunMetrics({name: [(5, value)] for name, value in used.items()}).slowest()
    assert str(found) == "worker:0 is the slowest: 3 s of a processor, 1.50 times the others"
    assert RunMetrics({"step_ms": [(1, 3.0)], "validation loss": [(1, 0.5)]}).slowest() is None
