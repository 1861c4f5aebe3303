"""Clusters on one machine: who is told what, what ends them, and that N workers learn what one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_trainers import FEATURES_OF, PARTS, model

from carrara.core.errors import DefinitionError, NotFoundError, TrainingError
from carrara.training import Impute, Standardise, Torch, Vocabulary
from carrara.training.cluster import launcher
from carrara.training.cluster.launcher import launch, local_cluster
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.fit import fit_prepared, prepare

TRANSFORMS = (Impute(), Standardise(), Vocabulary())
CLUSTER = ClusterSpec({"ps": ["a:1"], "worker": {0: "b:1", 3: "c:22"}})


def test_a_cluster_is_told_by_jobs_and_tasks_as_tensorflows_is():
    assert CLUSTER.as_dict() == {"ps": ["a:1"], "worker": {0: "b:1", 3: "c:22"}}
    assert (CLUSTER.num_tasks("worker"), CLUSTER.task_indices("worker")) == (2, [0, 3])
    assert CLUSTER.task_address("worker", 3) == "c:22"
    told = json.loads(CLUSTER.tf_config("ps", 0))
    assert told == {"cluster": {"ps": ["a:1"], "worker": {"0": "b:1", "3": "c:22"}}, "task": {"type": "ps", "index": 0}}
    again, job, task = ClusterSpec.from_tf_config(json.dumps(told))
    assert (again.task_address("worker", 3), job, task) == ("c:22", "ps", 0)
    tensorflow = pytest.importorskip("tensorflow")
    theirs = tensorflow.train.ClusterSpec(CLUSTER.as_dict())
    assert [theirs.task_address("worker", n) for n in theirs.task_indices("worker")] == ["b:1", "c:22"]


def test_what_is_no_cluster_is_said():
    with pytest.raises(NotFoundError, match=r"(?s)no job 'wroker'.*Did you mean 'worker'"):
        CLUSTER.num_tasks("wroker")
    with pytest.raises(NotFoundError, match="no task of job 'worker' '1'"):
        CLUSTER.task_address("worker", 1)
    with pytest.raises(DefinitionError, match="has the address 'a', and HOST:PORT is one"):
        ClusterSpec({"ps": ["a"]})
    with pytest.raises(DefinitionError, match="TF_CONFIG is not"):
        ClusterSpec.from_tf_config("{}")


def script(folder: Path, text: str) -> list[str]:
    path = folder / "task.py"
    path.write_text("import json, os, sys, time\nCONFIG = json.loads(os.environ['TF_CONFIG'])['task']\n" + text)
    return [sys.executable, str(path)]


def test_each_task_is_told_who_it_is_and_servers_end_with_the_workers(tmp_path):
    lines: list[str] = []
    command = script(
        tmp_path,
        "print(CONFIG['type'], CONFIG['index'], os.environ.get('RANK'), os.environ.get('WORLD_SIZE'))\n"
        "time.sleep(600 if CONFIG['type'] == 'ps' else 0)\n",
    )
    assert launch(command, {"chief": 1, "worker": 2, "ps": 1}, lines.append) == 0
    assert sorted(lines) == [
        "[chief:0] chief 0 0 3",
        "[ps:0] ps 0 None None",
        "[worker:0] worker 0 1 3",
        "[worker:1] worker 1 2 3",
    ]


def test_a_task_that_fails_is_named_the_others_are_stopped_and_its_status_is_kept(tmp_path):
    command = script(tmp_path, "CONFIG['index'] == 1 and sys.exit('out of luck')\ntime.sleep(600)\n")
    whole = [sys.executable, "-m", "carrara", "launch", "--workers", "3", command[1]]
    started = time.monotonic()
    done = subprocess.run(whole, capture_output=True, text=True)
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert "[worker:1] out of luck" in done.stdout
    assert "worker:1 failed with exit status 1; the others were stopped" in done.stdout


def test_it_is_stopped_when_it_is_told_to_stop(tmp_path):
    told, lines = threading.Event(), []

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    assert launch(script(tmp_path, "print('here')\ntime.sleep(600)\n"), {"worker": 1}, say, told) == 143
    assert lines == ["[worker:0] here"]


def test_ports_are_free_ones_of_this_machine():
    cluster = local_cluster({"worker": 20, "ps": 5})
    addresses = [cluster.task_address(job, n) for job in ("worker", "ps") for n in cluster.task_indices(job)]
    assert len(set(addresses)) == 25
    assert all(address.startswith("127.0.0.1:") for address in addresses)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_two_workers_learn_what_one_does(kind):
    made = model(
        kind, Torch(epochs=3, batch_rows=100, dropout=0.0, layers=(16,)), transforms=TRANSFORMS, weight="weight"
    )
    prepared = prepare(made, FEATURES_OF, PARTS)
    one = fit_prepared(made, prepared)
    two = fit_prepared(made, replace(prepared, task=replace(prepared.task, workers=2)))
    np.testing.assert_allclose(one.curve["validation"], two.curve["validation"], rtol=1e-4)
    assert two.export["equal"]


def test_a_worker_that_dies_ends_the_fit_by_its_name(monkeypatch):
    made = model("binary", Torch(epochs=500, early_stopping=500, batch_rows=50), transforms=TRANSFORMS)
    prepared = prepare(made, FEATURES_OF, PARTS)
    started: list[int] = []
    real = launcher.LocalProcesses.start

    def start(self, *arguments):
        task = real(self, *arguments)
        started.append(task.process.pid)
        return task

    monkeypatch.setattr(launcher.LocalProcesses, "start", start)

    def kill(number: int, loss: float) -> None:
        if number == 2:
            os.kill(started[0], signal.SIGKILL)

    task = replace(prepared.task, workers=2, report=kill)
    with pytest.raises(TrainingError, match="worker:1 ended with status -9 in the middle of training"):
        fit_prepared(made, replace(prepared, task=task))


def test_a_worker_that_never_comes_up_is_told_with_what_it_said(monkeypatch):
    made = model("binary", Torch(epochs=1), transforms=TRANSFORMS)
    prepared = prepare(made, FEATURES_OF, PARTS)
    monkeypatch.setattr("carrara.training.trainers.torch._PATIENCE_SECONDS", 3)
    monkeypatch.setenv("PYTHONSTARTUP", "")
    monkeypatch.setattr(launcher.sys, "executable", "/bin/false")
    with pytest.raises(TrainingError, match="worker:1 ended with status 1"):
        fit_prepared(made, replace(prepared, task=replace(prepared.task, workers=2)))


def test_a_trainer_of_one_process_refuses_workers(fresh):
    with pytest.raises(TrainingError, match="'xgboost' runs in one process"):
        fresh.train("late", workers=2)
