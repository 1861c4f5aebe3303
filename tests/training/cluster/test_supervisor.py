"""Several processes that share a fit: they learn what one does, and whatever becomes of one of them, the fit ends."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_trainers import FEATURES_OF, PARTS, model

from carrara.core.errors import ConfigurationError, TrainingError, UnavailableError
from carrara.metadata.run_metrics import RunMetrics
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.cluster import evaluator, hosts, losses, processes, supervisor
from carrara.training.cluster.losses import Losses, Lost, NoRoom
from carrara.training.cluster.team import ALONE, Team
from carrara.training.fit import fit_prepared, prepare
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.transforms.numbers import Impute, Standardise
from carrara.training.transforms.texts import Vocabulary

TRANSFORMS = (Impute(), Standardise(), Vocabulary())
SLOW_KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("multiclass", "regression")]
LONG = Torch(epochs=6, early_stopping=6, batch_rows=200, dropout=0.0, layers=(16,))
MANY_TREES = XGBoost(trees=600, depth=2, early_stopping=600, learning_rate=0.01)
KILLED = "was killed by signal 9"
ENDED = SimpleNamespace(returncode=-9)
"""What of a process is asked for when it is gone."""


def prepared_for(trainer, kind="binary", **more):
    made = model(kind, trainer, transforms=TRANSFORMS, weight="weight")
    prepared = prepare(made, FEATURES_OF, PARTS)
    return made, replace(prepared, task=replace(prepared.task, **more))


@pytest.fixture
def started(monkeypatch):
    """The processes that are started, in their order."""
    found: list[processes.Process] = []
    add = processes.Processes.add

    def seen(self, *arguments):
        found.append(add(self, *arguments))
        return found[-1]

    monkeypatch.setattr(processes.Processes, "add", seen)
    return found


def once(number: int, do):
    """A report that does something after the first epoch of that number, and keeps what was reported."""
    rounds: list[int] = []

    def report(epoch: int, loss: float) -> None:
        rounds.append(epoch)
        if epoch == number and rounds.count(number) == 1:
            do()

    return report, rounds


@pytest.mark.parametrize("kind", ["binary", *SLOW_KINDS])
def test_two_workers_learn_what_one_does(kind):
    made, prepared = prepared_for(Torch(epochs=3, batch_rows=100, dropout=0.0, layers=(16,)), kind)
    one = fit_prepared(made, prepared)
    told: dict[str, str] = {}
    measured: dict[str, list[int]] = {}
    task = replace(prepared.task, team=Team(2), computed=told.update)
    task = replace(task, measured=lambda name, step, value: measured.setdefault(name, []).append(step))
    two = fit_prepared(made, replace(prepared, task=task))
    np.testing.assert_allclose(one.curve["validation"], two.curve["validation"], rtol=1e-4)
    assert two.export["equal"]
    assert told["precision"] == "float32"
    assert told["backend"] in ("gloo", "nccl")
    of_workers = [f"worker:{n} {figure}" for n in range(2) for figure in ("cpu_s", "input_ms", "step_ms", "wait_ms")]
    assert sorted(measured) == ["train loss", *of_workers]
    assert measured["worker:1 step_ms"] == measured["train loss"] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_workers_that_keep_shares_of_the_parameters_learn_what_one_process_does(kind):
    trainer = Torch(epochs=3, batch_rows=101, dropout=0.0, layers=(33,), sharded=True)
    made, prepared = prepared_for(trainer, kind)
    one = fit_prepared(made, prepared)
    two = fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2))))
    np.testing.assert_allclose(one.curve["validation"], two.curve["validation"], rtol=1e-4)
    assert two.export["equal"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_is_told_and_the_fit_goes_on_from_its_checkpoint(started, rank):
    told: list[str] = []
    report, rounds = once(3, lambda: os.kill(started[rank].process.pid, signal.SIGKILL))
    made, prepared = prepared_for(LONG, team=Team(2), report=report, tell=told.append)
    found = fit_prepared(made, prepared)
    assert told == [f"worker:{rank} {KILLED}; all go on from the last checkpoint"]
    assert rounds[-1] == 6
    assert rounds.count(1) == rounds.count(2) == 1
    assert len(found.curve["validation"]) == 6
    whole = fit_prepared(made, replace(prepared, task=replace(prepared.task, team=ALONE, report=lambda n, loss: None)))
    np.testing.assert_allclose(found.curve["validation"], whole.curve["validation"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_stands_still_is_told_within_the_timeout_and_the_fit_goes_on(started, monkeypatch, rank):
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 8.0)
    told: list[str] = []
    report, rounds = once(2, lambda: os.kill(started[rank].process.pid, signal.SIGSTOP))
    made, prepared = prepared_for(LONG, team=Team(2), report=report, tell=told.append)
    fit_prepared(made, prepared)
    assert told == [f"worker:{rank} stood still for 8 s; all go on from the last checkpoint"]
    assert rounds[-1] == 6


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_ends_the_fit_by_its_name_and_nothing_runs_on(started, tmp_path):
    checkpoint = FileCheckpoint(tmp_path / "one")

    def kill(number: int, loss: float) -> None:
        os.kill(started[-1].process.pid, signal.SIGKILL)

    more = {"team": Team(2), "report": kill, "checkpoint": checkpoint}
    made, prepared = prepared_for(replace(LONG, epochs=500, early_stopping=500), **more)
    with pytest.raises(TrainingError, match="worker:1 was killed by signal 9 in the middle of training, after 3 resta"):
        fit_prepared(made, prepared)
    assert len(started) == 8
    assert all(one.status is not None for one in started)
    assert checkpoint.read() is not None


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [LONG, XGBoost(trees=2_000, depth=3, early_stopping=2_000, learning_rate=0.01)])
def test_a_worker_that_is_lost_again_is_gone_on_without_where_fewer_are_enough(started, trainer):
    told: list[str] = []
    rounds: list[int] = []
    least = 20 if trainer is not LONG else 1

    def kill(number: int, loss: float) -> None:
        rounds.append(number)
        if number > least and len(started) <= 6 and started[-1].status is None and not started[-1].stopped:
            os.kill(started[-1].process.pid, signal.SIGKILL)

    made, prepared = prepared_for(trainer, report=kill, tell=told.append)
    task = replace(prepared.task, team=Team(3, min_workers=2))
    found = fit_prepared(made, replace(prepared, task=task))
    again, without = f"worker:2 {KILLED}; all go on", f"worker:2 {KILLED}; 2 workers go on"
    assert told == [f"{again} from the last checkpoint", f"{without} from the last checkpoint without it"]
    assert [one.name for one in started] == ["worker:0", "worker:1", "worker:2"] * 2 + ["worker:0", "worker:1"]
    assert rounds[-1] == len(found.curve["validation"]) == (trainer.epochs if trainer is LONG else 2_000)
    if trainer is LONG:
        assert rounds.count(1) == 1
        alone = replace(prepared.task, report=lambda number, loss: None)
        whole = fit_prepared(made, replace(prepared, task=alone))
        np.testing.assert_allclose(found.curve["validation"], whole.curve["validation"], rtol=1e-4)


@pytest.mark.slow
def test_a_slow_worker_of_parameter_servers_does_less_and_holds_nobody_up(started):
    measured = RunMetrics()
    over = threading.Event()

    def slow_down() -> None:
        """Nine tenths of the time it stands still."""
        while not over.is_set():
            for what, seconds in ((signal.SIGSTOP, 0.9), (signal.SIGCONT, 0.1)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(next(one for one in started if one.name == "worker:1").process.pid, what)
                over.wait(seconds)

    brake = threading.Thread(target=slow_down)
    report, rounds = once(1, brake.start)
    trainer = Keras(epochs=8, early_stopping=8, batch_rows=20, layers=(64, 64))
    made, prepared = prepared_for(trainer, team=Team(2, servers=1), report=report)
    task = replace(prepared.task, measured=lambda name, *point: measured.setdefault(name, []).append(point))
    try:
        fit_prepared(made, replace(prepared, task=task))
    finally:
        over.set()
        brake.join()
    assert rounds == list(range(1, 9))
    works = {name: sum(value for _, value in measured[f"worker:{name} cpu_s"]) for name in (0, 1)}
    assert works[1] < works[0]


@pytest.mark.slow
def test_parameter_servers_go_on_without_a_worker_that_is_lost_again(started):
    told: list[str] = []
    rounds: list[int] = []

    def kill(number: int, loss: float) -> None:
        rounds.append(number)
        if number in (2, 4):
            (last,) = [one for one in started if one.name == "worker:1"][-1:]
            os.kill(last.process.pid, signal.SIGKILL)

    trainer = Keras(epochs=8, early_stopping=8, batch_rows=50, layers=(16,), learning_rate=0.01)
    made, prepared = prepared_for(trainer, report=kill, tell=told.append)
    fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2, servers=1, min_workers=1))))
    assert told[1:] == [
        f"worker:1 {KILLED}; it was started again, and the others go on",
        f"worker:1 {KILLED}; the others go on without it",
    ]
    assert rounds == list(range(1, 9))


def test_what_is_lost_is_started_again_then_gone_on_without_and_then_the_end():
    gone = Losses(Team(3, min_workers=2))
    assert gone.followed_by(NoRoom("no room for 3")) == "2 workers go on from the last checkpoint without it"
    lost = Lost(processes.Process("worker", 1, ENDED), "was killed by signal 9", restarts=True)
    assert [gone.followed_by(lost) for _ in range(losses.RESTARTS)] == ["all go on from the last checkpoint"] * 3
    with pytest.raises(TrainingError, match=r"worker:1 was killed .* after 3 restarts"):
        gone.followed_by(lost)
    assert gone.team == Team(2, min_workers=2)
    other = Losses(Team(2, min_workers=1))
    assert "all go on" in other.followed_by(lost)
    assert other.followed_by(lost) == "1 worker goes on from the last checkpoint without it"
    by_itself = Losses(Team(2, min_workers=1))
    with pytest.raises(TrainingError, match="ended with status 1 in the middle of training"):
        by_itself.followed_by(replace(lost, what="ended with status 1", restarts=False))


def test_a_process_that_fails_by_itself_ends_the_fit_with_what_it_said(started, monkeypatch):
    made, prepared = prepared_for(Torch(epochs=1), team=Team(2))
    monkeypatch.setattr(hosts.sys, "executable", "/bin/false")
    with pytest.raises(
        TrainingError, match=r"(?s)worker:0 ended with status 1 in the middle of training.*said nothing"
    ):
        fit_prepared(made, prepared)
    assert len(started) == 2


@pytest.mark.slow
def test_the_log_of_a_fit_tells_how_much_each_process_has_worked():
    lines: list[str] = []
    made, prepared = prepared_for(XGBoost(trees=5, depth=3), team=Team(2), log=lines.append)
    fit_prepared(made, prepared)
    (told,) = (line for line in lines if line.startswith("[profile] in all"))
    assert "worker:0" in told
    assert "worker:1" in told


@pytest.mark.slow
def test_the_slow_one_of_two_workers_is_named(tmp_path, monkeypatch):
    (tmp_path / "slow_one.py").write_text(
        "import os, time, torch\n\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, width, outputs):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(width, outputs)\n"
        "    def forward(self, inputs):\n"
        "        time.sleep(0.02 if os.environ.get('RANK') == '1' else 0.0)\n"
        "        return self.layer(inputs['numbers'])\n\n"
        "def build(shapes, task):\n"
        "    return Net(shapes['numbers'][0], task.outputs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    build = importlib.import_module("slow_one").build
    measured = RunMetrics()
    made, prepared = prepared_for(Torch(build=build, epochs=2, batch_rows=50), team=Team(2))
    task = replace(prepared.task, measured=lambda name, *point: measured.setdefault(name, []).append(point))
    fit_prepared(made, replace(prepared, task=task))
    slowest = measured.slowest()
    assert (slowest.process, slowest.unit) == ("worker:1", "ms a step")
    assert slowest.works > 20


@pytest.mark.slow
def test_processes_that_wait_for_one_another_in_vain_end_within_the_timeout_and_the_log_has_what_they_said(
    started, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervisor, "STUCK_SECONDS", 20.0)
    monkeypatch.setattr(losses, "RESTARTS", 0)
    (tmp_path / "waits.py").write_text(
        "import time\n\ndef build(shapes, task):\n    print('here it waits')\n    time.sleep(600)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    logged: list[str] = []
    build = importlib.import_module("waits").build
    made, prepared = prepared_for(Torch(build=build), team=Team(2), log=logged.append)
    with pytest.raises(TrainingError, match="worker:0 and the others waited for one another for 20 s"):
        fit_prepared(made, prepared)
    assert len(started) == 2
    assert logged.count("[worker:1] here it waits") == 1


@pytest.mark.slow
def test_what_cannot_be_learned_is_said_as_by_one_process():
    made, prepared = prepared_for(Torch(epochs=3, learning_rate=1e30), "regression", team=Team(2))
    with pytest.raises(TrainingError, match=r"(?s)the loss is (nan|inf) after epoch \d.*Standardise"):
        fit_prepared(made, prepared)


def test_processes_end_with_the_one_that_started_them(started):
    made, prepared = prepared_for(replace(MANY_TREES, trees=100_000, early_stopping=100_000), team=Team(2))

    def stop(number: int, loss: float) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit_prepared(made, replace(prepared, task=replace(prepared.task, report=stop)))
    assert all(one.status is not None for one in started)
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("kind", ["binary", *SLOW_KINDS])
def test_workers_that_grow_the_same_trees_learn_what_one_process_does(kind):
    made, prepared = prepared_for(XGBoost(trees=60, depth=3), kind)
    one = fit_prepared(made, prepared)
    two = fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2))))
    # The cuts of columns are sketched on other rows.
    np.testing.assert_allclose(min(one.curve["validation"]), min(two.curve["validation"]), rtol=0.05)
    assert two.export["equal"]
    assert two.summary["trees_tried"] == len(two.curve["validation"]) <= 60


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_grows_trees_and_is_killed_costs_no_run(started, rank):
    told: list[str] = []
    report, rounds = once(30, lambda: os.kill(started[rank].process.pid, signal.SIGKILL))
    made, prepared = prepared_for(MANY_TREES)
    task = replace(prepared.task, team=Team(2), report=report, tell=told.append)
    found = fit_prepared(made, replace(prepared, task=task))
    assert told == [f"worker:{rank} {KILLED}; all go on from the last checkpoint"]
    assert rounds[-1] == MANY_TREES.trees
    assert len(found.curve["validation"]) == MANY_TREES.trees


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_workers_that_mirror_one_another_learn_what_one_keras_process_does(kind):
    made, prepared = prepared_for(Keras(epochs=3, batch_rows=100, dropout=0.0, layers=(16,)), kind)
    one = fit_prepared(made, prepared)
    two = fit_prepared(made, replace(prepared, task=replace(prepared.task, team=Team(2))))
    np.testing.assert_allclose(one.curve["validation"], two.curve["validation"], rtol=1e-4)
    assert two.export["equal"]


@pytest.mark.slow
def test_parameter_servers_learn_and_a_worker_that_is_killed_is_started_again(started):
    told: list[str] = []
    names = {name: n for n, name in enumerate(["chief", "ps", "worker:0", "worker:1"])}
    report, rounds = once(4, lambda: os.kill(started[names["worker:1"]].process.pid, signal.SIGKILL))
    trainer = Keras(epochs=12, early_stopping=12, batch_rows=50, layers=(16,), learning_rate=0.01)
    made, prepared = prepared_for(trainer, team=Team(2, servers=1), report=report, tell=told.append)
    found = fit_prepared(made, prepared)
    lost = "worker:1 was killed by signal 9; it was started again, and the others go on"
    assert told == ["variables: 18 on ps:0", lost]
    assert rounds == list(range(1, 13))
    assert found.curve["validation"][-1] < found.curve["validation"][0] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("job", ["chief", "ps"])
def test_a_chief_or_a_parameter_server_that_is_killed_costs_one_epoch(started, job):
    told: list[str] = []
    place = ["chief", "ps"].index(job)
    report, rounds = once(3, lambda: os.kill(started[place].process.pid, signal.SIGKILL))
    trainer = Keras(epochs=6, early_stopping=6, batch_rows=50, layers=(16,), learning_rate=0.01)
    made, prepared = prepared_for(trainer, team=Team(2, servers=1), report=report, tell=told.append)
    fit_prepared(made, prepared)
    assert told[1] == f"{job}:0 was killed by signal 9; all go on from the last checkpoint"
    assert rounds.count(1) == rounds.count(2) == 1
    assert rounds[-1] == 6


@pytest.mark.slow
def test_an_evaluator_measures_each_epoch_once_and_one_that_is_killed_costs_no_run(started):
    told: list[str] = []
    names = ["chief", "ps", "worker:0", "evaluator"]
    report, rounds = once(3, lambda: os.kill(started[names.index("evaluator")].process.pid, signal.SIGKILL))
    trainer = Keras(epochs=6, early_stopping=6, batch_rows=50, layers=(16,), learning_rate=0.01)
    team = Team.of(1, servers=1, evaluator=True)
    made, prepared = prepared_for(trainer, team=team, report=report, tell=told.append)
    found = fit_prepared(made, prepared)
    assert told[1] == "evaluator:0 was killed by signal 9; all go on from the last checkpoint"
    assert rounds == list(range(1, 7))
    assert found.export["equal"]
    assert len(found.curve["train"]) == len(found.curve["validation"]) == 6
    assert found.curve["validation"][-1] < found.curve["validation"][0] < 0.5


def test_an_evaluator_of_no_parameter_servers_is_refused():
    with pytest.raises(ConfigurationError, match=r"(?s)an evaluator measures what parameter servers hold.*--ps 1"):
        Team.of(2, evaluator=True)


def test_an_evaluator_answers_in_arrays_and_numbers_and_one_that_is_gone_is_told(monkeypatch):
    address = processes.local_cluster({"evaluator": 1}).task_address("evaluator", 0)
    monkeypatch.setenv(evaluator.ADDRESS, address)
    monkeypatch.setenv(evaluator.KEY, "a key")

    def losses(state):
        if state[0].sum() < 0:
            raise ConnectionResetError
        return float(state[0].sum()), float(state[1].sum())

    def serve():
        with contextlib.suppress(ConnectionResetError):
            evaluator.measure_states(losses)

    thread = threading.Thread(target=serve)
    thread.start()
    chief = evaluator.Evaluator.of_environment()
    assert chief is not None
    chief.ask([np.ones(3, np.float32), np.array(2.5)])
    assert chief.answer() == (3.0, 2.5)
    chief.ask([np.array(-1.0), np.array(0.0)])
    with pytest.raises(UnavailableError, match=f"the evaluator at {address} does not answer"):
        chief.answer()
    thread.join(10)
    assert not thread.is_alive()
