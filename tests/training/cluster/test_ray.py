"""The processes of a fit on a Ray cluster: they learn what those on this machine do, and whatever becomes of one of
them, the fit ends."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_servers import written
from test_supervisor import LONG, once, prepared_for

from carrara.core.errors import ConfigurationError, MissingExtra, UnavailableError
from carrara.training.cluster import processes, ray
from carrara.training.cluster.processes import local_cluster
from carrara.training.cluster.reach import require_up
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.team import Team
from carrara.training.fit import fit_prepared
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost

ON_RAY = Team(2, engine="ray:local")


@pytest.fixture
def pids(monkeypatch):
    """Of the actors and processes that are started, in their order."""
    found: list[tuple[int, int]] = []
    add = processes.Processes.add

    def seen(self, job, number, process):
        found.append(process.pids)
        return add(self, job, number, process)

    monkeypatch.setattr(processes.Processes, "add", seen)
    return found


@pytest.fixture
def temporary(monkeypatch):
    """The folder for temporary files of all processes that are started from here on; a short one, of Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def left_over(temporary: Path) -> list[Path]:
    return list(temporary.glob("carrara-fit-*"))


def test_what_is_no_place_to_train_is_said():
    with pytest.raises(ConfigurationError, match=r"(?s)training is 'dask://a', which is no place.*ray://HOST:10001"):
        Team.of(2, engine="dask://a")


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    made, prepared = prepared_for(Torch(epochs=1), team=ON_RAY)
    with pytest.raises(MissingExtra, match=r"carrara\[ray\]"):
        fit_prepared(made, prepared)


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_named():
    made, prepared = prepared_for(Torch(epochs=1), team=Team(2, engine="ray://127.0.0.1:9"))
    with pytest.raises(UnavailableError, match=r"(?s)the Ray cluster at ray://127\.0\.0\.1:9 does not answer"):
        fit_prepared(made, prepared)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer", [Torch(epochs=3, batch_rows=100, dropout=0.0, layers=(16,)), XGBoost(trees=20, depth=3)]
)
def test_workers_on_ray_learn_what_those_on_this_machine_do(trainer, monkeypatch, temporary):
    monkeypatch.setattr(ray, "_SLICE_BYTES", 10_000)
    rounds = []
    made, prepared = prepared_for(trainer, team=Team(2))
    here = fit_prepared(made, prepared)
    made, prepared = prepared_for(trainer, team=ON_RAY, report=lambda number, loss: rounds.append(number))
    there = fit_prepared(made, prepared)
    np.testing.assert_array_equal(here.curve["validation"], there.curve["validation"])
    assert here.files == there.files
    assert rounds == list(range(1, len(there.curve["validation"]) + 1))
    assert not left_over(temporary)
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["actor", "process"])
def test_an_actor_or_its_process_that_is_killed_costs_no_run(pids, killed):
    told: list[str] = []
    place = ["actor", "process"].index(killed)
    report, rounds = once(3, lambda: os.kill(pids[1][place], signal.SIGKILL))
    made, prepared = prepared_for(LONG, team=ON_RAY, report=report, tell=told.append)
    found = fit_prepared(made, prepared)
    assert told == ["worker:1 was killed by signal 9; all go on from the last checkpoint"]
    assert rounds[-1] == 6
    assert rounds.count(1) == rounds.count(2) == 1
    assert len(found.curve["validation"]) == 6


@pytest.fixture
def head(monkeypatch):
    """The address of a Ray cluster that was there before, of this machine, and that asks for a token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "300")
    port, client = (local_cluster({"head": 1}).task_address("head", 0).rpartition(":")[2] for _ in range(2))
    options = [
        f"--port={port}",
        f"--ray-client-server-port={client}",
        "--num-cpus=8",
        "--num-gpus=2",
        "--include-dashboard=false",
    ]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
    started = subprocess.Popen(
        [*command, "--node-ip-address=127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        require_up(ClusterSpec({"head": [f"127.0.0.1:{client}"]}), 300)
        yield f"ray://127.0.0.1:{client}"
    finally:
        started.terminate()
        started.wait(60)


@pytest.mark.slow
def test_parameter_servers_and_an_evaluator_run_on_ray(head):
    trainer = Keras(epochs=6, early_stopping=6, batch_rows=50, layers=(16,), learning_rate=0.01)
    told: list[str] = []
    made, prepared = prepared_for(trainer, team=Team.of(2, 1, engine=head, evaluator=True), tell=told.append)
    found = fit_prepared(made, prepared)
    assert told == ["variables: 18 on ps:0"]
    assert found.export["equal"]
    assert len(found.curve["train"]) == len(found.curve["validation"]) == 6
    assert found.curve["validation"][-1] < found.curve["validation"][0]


@pytest.mark.slow
def test_each_process_has_gpus_of_the_ray_cluster_and_more_than_there_are_is_said(head, monkeypatch):
    made, prepared = prepared_for(XGBoost(trees=5, depth=3), team=Team(2, engine=head, gpus=1))
    assert fit_prepared(made, prepared).export["equal"]
    monkeypatch.setattr(ray, "_ROOM_SECONDS", 2.0)
    made, prepared = prepared_for(XGBoost(trees=5, depth=3), team=Team(2, engine=head, gpus=2))
    with pytest.raises(UnavailableError, match=r"no room for 2 processes of \d cores and 2 GPUs each"):
        fit_prepared(made, prepared)
    told: list[str] = []
    team = Team(3, engine=head, gpus=1, min_workers=2)
    made, prepared = prepared_for(XGBoost(trees=5, depth=3), team=team, tell=told.append)
    assert fit_prepared(made, prepared).export["equal"]
    (said,) = told
    assert "has no room for 3 processes" in said
    assert said.endswith("; 2 workers go on from the last checkpoint without it")


@pytest.mark.slow
def test_a_cluster_that_runs_is_trained_on_and_outlives_the_fit(temporary, head):
    made, prepared = prepared_for(Torch(epochs=3, batch_rows=100, dropout=0.0, layers=(16,)), team=Team(2))
    here = fit_prepared(made, prepared)
    for _ in range(2):
        made, prepared = prepared_for(made.trainer, team=Team(2, engine=head))
        assert fit_prepared(made, prepared).files == here.files
    assert not left_over(temporary)


@pytest.mark.slow
def test_servers_that_run_are_handed_their_steps_by_an_actor(tmp_path, pids):
    cluster = local_cluster({"ps": 1, "worker": 1})
    path = written(tmp_path, cluster.as_dict())
    servers = subprocess.Popen(
        [sys.executable, "-m", "carrara", "cluster", "start", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    told: list[str] = []
    try:
        require_up(cluster, 300)
        trainer = Keras(epochs=4, early_stopping=4, batch_rows=50, layers=(16,), learning_rate=0.01)
        made, prepared = prepared_for(trainer, team=Team.of(cluster=path, engine="ray:local"), tell=told.append)
        found = fit_prepared(made, prepared)
    finally:
        servers.terminate()
        servers.wait(60)
    assert told == ["variables: 18 on ps:0"]
    assert len(pids) == 1
    assert found.export["equal"]
    assert found.curve["validation"][-1] < found.curve["validation"][0]
