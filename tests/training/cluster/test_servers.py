"""TensorFlow's servers by a cluster's file: started, kept up, asked for, and trained on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_supervisor import once, prepared_for

from carrara.core.errors import ConfigurationError, DefinitionError, NotFoundError, TrainingError, UnavailableError
from carrara.training.cluster.devices import Device
from carrara.training.cluster.processes import local_cluster
from carrara.training.cluster.reach import require_up
from carrara.training.cluster.servers import keep_up, tasks_here
from carrara.training.cluster.spec import ClusterSpec, read_cluster
from carrara.training.cluster.team import Team
from carrara.training.fit import fit_prepared
from carrara.training.trainers.keras import Keras

ELSEWHERE = "192.0.2.7:2222"


def written(folder: Path, jobs: dict[str, list[str]]) -> Path:
    path = folder / "cluster.toml"
    path.write_text("[jobs]\n" + "\n".join(f"{job} = {json.dumps(addresses)}" for job, addresses in jobs.items()))
    return path


def test_a_cluster_is_a_file_of_jobs_and_addresses(tmp_path):
    path = written(tmp_path, {"ps": ["localhost:2222"], "worker": ["127.0.0.1:2223", ELSEWHERE]})
    found = read_cluster(path)
    assert found.as_dict() == {"ps": ["localhost:2222"], "worker": ["127.0.0.1:2223", ELSEWHERE]}
    assert tasks_here(found) == [("ps", 0), ("worker", 0)]
    with pytest.raises(NotFoundError, match=r"(?s)no task of this machine.*worker:0 192\.0\.2\.7:2222"):
        keep_up(ClusterSpec({"worker": [ELSEWHERE]}), print, threading.Event())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs = 1", "no jobs"),
        ("[jobs]\nps = 'a:1'", "job 'ps' of .* is 'a:1', and a list"),
        ("[job]\nps = ['a:1']", "has job, and one section"),
        ("[jobs", "is not valid TOML"),
    ],
)
def test_what_is_no_clusters_file_is_said(tmp_path, text, said):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_cluster(path)
    with pytest.raises(ConfigurationError, match="there is no"):
        read_cluster(tmp_path / "other.toml")


def test_a_team_is_numbers_or_a_file(tmp_path):
    path = written(tmp_path, {"ps": ["localhost:2222"], "worker": ["localhost:2223"]})
    assert Team.of(cluster=path).has_servers
    with pytest.raises(ConfigurationError, match="says how many workers"):
        Team.of(2, cluster=path)
    with pytest.raises(ConfigurationError, match="names no job 'ps', but worker"):
        Team.of(cluster=written(tmp_path, {"worker": ["localhost:2223"]}))


def test_a_task_that_never_comes_up_is_named_within_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as here:
        gone = local_cluster({"worker": 1}).task_address("worker", 0)
        cluster = ClusterSpec({"ps": [f"127.0.0.1:{here.getsockname()[1]}"], "worker": [gone]})
        with pytest.raises(
            UnavailableError, match=f"(?s)^worker:0 \\({gone}\\) did not come up within 1 s.*cluster se"
        ):
            require_up(cluster, 1.0)


def test_devices_are_read_and_written_as_tensorflow_does():
    whole = "/job:ps/replica:0/task:1/device:CPU:0"
    assert str(Device.parse(whole)) == whole
    assert Device.parse("/job:worker/gpu:3") == Device("worker", type="GPU", number=3)
    assert (
        str(Device.parse(whole).merged(Device.parse("/task:4/device:GPU:*"))) == "/job:ps/replica:0/task:4/device:GPU:0"
    )
    with pytest.raises(DefinitionError, match="'/job:ps/disk:1' names no device"):
        Device.parse("/job:ps/disk:1")


def test_status_names_what_does_not_listen(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as here:
        up = f"127.0.0.1:{here.getsockname()[1]}"
        path = written(tmp_path, {"ps": [up], "worker": [local_cluster({"worker": 1}).task_address("worker", 0)]})
        command = [sys.executable, "-m", "carrara", "cluster", "status", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert [(one["job"], one["up"]) for one in json.loads(done.stdout)] == [("ps", True), ("worker", False)]
    assert "worker:0 of" in done.stderr


@pytest.mark.slow
def test_a_net_trains_on_servers_that_run_and_one_that_is_killed_is_started_again(tmp_path):
    cluster = local_cluster({"ps": 1, "worker": 2})
    path = written(tmp_path, cluster.as_dict())
    command = [sys.executable, "-m", "carrara", "cluster", "start", str(path)]
    servers = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    told: list[str] = []
    try:
        require_up(cluster, 120)
        report, rounds = once(3, lambda: _kill_server(servers.pid, cluster.task_address("worker", 1)))
        trainer = Keras(epochs=10, early_stopping=10, batch_rows=50, layers=(16,), learning_rate=0.01)
        team = Team.of(cluster=path)
        made, prepared = prepared_for(trainer, team=team, report=report, tell=told.append)
        found = fit_prepared(made, prepared)
        again = fit_prepared(made, prepared)
    finally:
        servers.terminate()
        said = servers.communicate()[0]
    assert rounds[:10] == list(range(1, 11))
    assert found.curve["validation"][-1] < found.curve["validation"][0]
    assert len(again.curve["validation"]) == 10
    assert told[0] == "variables: 18 on ps:0"
    assert "worker:1 was killed by signal 9; it is started again" in said
    assert servers.returncode == 0


@pytest.mark.slow
def test_sessions_of_old_graphs_share_the_variables_of_a_cluster(tmp_path):
    """As TensorFlow's first papers show it: a graph is placed on tasks, and a session asks one of them to run it."""
    tensorflow = pytest.importorskip("tensorflow")
    cluster = local_cluster({"ps": 1, "worker": 1})
    path = written(tmp_path, cluster.as_dict())
    servers = subprocess.Popen(
        [sys.executable, "-m", "carrara", "cluster", "start", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    old = tensorflow.compat.v1
    try:
        require_up(cluster, 120)
        with tensorflow.Graph().as_default():
            with tensorflow.device("/job:ps/task:0"):
                shared = old.Variable(1.0, name="shared", use_resource=True)
            with tensorflow.device("/job:worker/task:0"):
                more = shared.assign_add(2.0, read_value=True)
            target = f"grpc://{cluster.task_address('worker', 0)}"
            with old.Session(target) as session:
                session.run(shared.initializer)
                assert session.run(more) == 3.0
                devices = {device.name for device in session.list_devices()}
            with old.Session(target) as another:
                assert another.run(more) == 5.0
    finally:
        servers.terminate()
        servers.communicate()
    assert {f"/job:{job}/replica:0/task:0/device:CPU:0" for job in ("ps", "worker")} <= devices


@pytest.mark.slow
def test_a_server_whose_port_is_taken_says_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster = ClusterSpec({"ps": [f"127.0.0.1:{taken.getsockname()[1]}"]})
        with pytest.raises(TrainingError, match=r"(?s)ps:0 ended with status 1"):
            keep_up(cluster, print, threading.Event())


def _kill_server(parent: int, address: str) -> None:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                task = json.loads(_environment(folder)["TF_CONFIG"])
            except (KeyError, OSError):
                continue
            where = task["cluster"][task["task"]["type"]][task["task"]["index"]]
            mine = (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
            if where == address and mine:
                os.kill(int(folder.name), signal.SIGKILL)


def _environment(folder: Path) -> dict[str, str]:
    pairs = (folder / "environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
