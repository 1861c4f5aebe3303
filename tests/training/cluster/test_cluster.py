"""Clusters on one machine: who is told what, and what ends them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import carrara
from carrara.core.errors import DefinitionError, NotFoundError, TrainingError
from carrara.pipelines.train import team_of
from carrara.training.cluster.launcher import launch
from carrara.training.cluster.processes import local_cluster
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.team import Team
from carrara.workspace.workspace import Workspace
from commands import carrara as command

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
    back = ClusterSpec.from_cluster_def(theirs.as_cluster_def())
    assert (back.task_indices("worker"), back.task_address("worker", 3)) == ([0, 3], "c:22")
    assert ClusterSpec(theirs.as_dict()).task_address("ps", 0) == "a:1"


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
        "print(CONFIG['type'], CONFIG['index'], os.environ.get('RANK'), os.environ.get('WORLD_SIZE'), flush=True)\n"
        "told = os.path.join(os.path.dirname(__file__), 'told')\n"
        "if CONFIG['type'] == 'ps':\n    open(told, 'w').close()\n    time.sleep(600)\n"
        "while not os.path.exists(told):\n    time.sleep(0.01)\n",
    )
    assert launch(command, {"chief": 1, "worker": 2, "ps": 1}, lines.append) == 0
    assert sorted(lines) == [
        "[chief:0] chief 0 0 3",
        "[ps:0] ps 0 None None",
        "[worker:0] worker 0 1 3",
        "[worker:1] worker 1 2 3",
    ]


def test_an_evaluator_is_no_part_of_the_cluster_and_is_waited_for(tmp_path):
    lines: list[str] = []
    text = "print(CONFIG['type'], 'RANK' in os.environ, list(json.loads(os.environ['TF_CONFIG'])['cluster']))\n"
    assert launch(script(tmp_path, text), {"worker": 1, "evaluator": 1}, lines.append) == 0
    assert sorted(lines) == ["[evaluator:0] evaluator False ['worker']", "[worker:0] worker True ['worker']"]


def test_a_task_that_fails_is_named_the_others_are_stopped_and_its_status_is_kept(tmp_path):
    command = script(tmp_path, "CONFIG['index'] == 1 and sys.exit('out of luck')\ntime.sleep(600)\n")
    whole = [sys.executable, "-m", "carrara", "launch", "--workers", "3", command[1]]
    started = time.monotonic()
    done = subprocess.run(whole, capture_output=True, text=True)
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert "[worker:1] out of luck" in done.stdout
    assert "worker:1 failed with exit status 1; the others were stopped" in done.stdout


def test_tasks_are_started_again_and_without_the_worker_that_fails_again(tmp_path):
    """Each knows how often it was started before, so that it goes on from its own checkpoint."""
    text = (
        "before, workers = os.environ['TORCHELASTIC_RESTART_COUNT'], os.environ['WORLD_SIZE']\n"
        "CONFIG['index'] == 2 and sys.exit(3)\n"
        "print(before, workers, flush=True)\n"
        "workers == '3' and time.sleep(600)\n"
    )
    lines: list[str] = []
    assert launch(script(tmp_path, text), {"worker": 3}, lines.append, restarts=1, min_workers=2) == 0
    said = [line for line in lines if not line.startswith("[")]
    assert said == [
        "worker:2 failed with exit status 3; the others were stopped, and all are started again",
        "worker:2 failed with exit status 3; the others were stopped, and are started again without it: workers 2",
    ]
    assert sorted(line for line in lines if line.endswith("2 2")) == ["[worker:0] 2 2", "[worker:1] 2 2"]
    lines.clear()
    command = script(tmp_path, "sys.exit(4)\n")
    assert launch(command, {"worker": 1}, lines.append, restarts=1) == 4
    assert lines[-1] == "worker:0 failed with exit status 4; the others were stopped"


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


def test_a_trainer_of_one_process_refuses_workers_and_others_servers(fresh):
    with pytest.raises(TrainingError, match="'xgboost' knows no parameter servers"):
        fresh.train("late", workers=2, servers=1)
    text = (fresh.root / "definitions.py").read_text()
    (fresh.root / "definitions.py").write_text(text.replace("carrara.XGBoost(trees=40, depth=3)", "carrara.LightGBM()"))
    with Workspace(fresh.root) as workspace, pytest.raises(TrainingError, match="'lightgbm' runs in one process"):
        workspace.train("late", workers=2)


def test_a_run_whose_cluster_never_comes_up_is_recorded_with_the_task_that_is_missing(fresh, monkeypatch):
    monkeypatch.setattr("carrara.training.cluster.reach.COMING_UP_SECONDS", 0.1)
    path = fresh.root / "definitions.py"
    path.write_text(path.read_text().replace("carrara.XGBoost(trees=40, depth=3)", "carrara.Keras()"))
    with socket.create_server(("127.0.0.1", 0)) as here:
        up, gone = f"127.0.0.1:{here.getsockname()[1]}", local_cluster({"worker": 1}).task_address("worker", 0)
        (fresh.root / "cluster.toml").write_text(f'[jobs]\nps = ["{up}"]\nworker = ["{gone}"]\n')
        done = command("train", "late", "-w", fresh.root, "--cluster", fresh.root / "cluster.toml")
    said = f"worker:0 ({gone}) did not come up within 0 s"
    assert done.returncode == 1
    assert said in done.stderr
    assert "carrara cluster server" in done.stderr
    (run,) = fresh.runs("train")
    assert (run.state, said in run.error) == ("failed", True)
    assert said in fresh.run_log(run.id)
    assert fresh.models.count() == 0


def test_a_definition_says_which_processes_share_a_fit_and_whoever_trains_it_may_say_others(fresh):
    path = fresh.root / "definitions.py"
    trainer = "trainer=carrara.XGBoost(trees=40, depth=3)"
    path.write_text(path.read_text().replace(trainer, f"{trainer}, compute=carrara.Compute(workers=2, servers=1)"))
    with Workspace(fresh.root) as workspace:
        with pytest.raises(TrainingError, match="'xgboost' knows no parameter servers"):
            workspace.train("late")
        assert workspace.train("late", workers=1).version.version == 1
        model = workspace.definitions.get("model", "late", carrara.Model)
        on_cards = replace(model, compute=carrara.Compute(workers=2, gpus=1))
        assert team_of(workspace.stores, on_cards, None) == Team(2, gpus=1)
        # A run that is gone on with asks for the processes that it had.
        assert team_of(workspace.stores, on_cards, Team(3)) == Team(3, gpus=1)
    with pytest.raises(DefinitionError, match="there are none"):
        carrara.Compute(workers=2, evaluator=True)
