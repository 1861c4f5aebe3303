"""Tuning finds what is planted, gives up what is hopeless, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from test_trainers import FEATURES_OF, PARTS, model

from carrara.core.errors import DefinitionError, NotFoundError, TrainingError
from carrara.training.fit import prepare
from carrara.training.search import Between, OneOf, grid
from carrara.training.trainers.base import Fitted
from carrara.training.trainers.function import trainer
from carrara.training.trainers.linear import Linear
from carrara.training.trainers.sklearn import Sklearn
from carrara.training.trainers.xgboost import XGBoost
from carrara.training.tuning import Trial, tune
from carrara.workspace.workspace import Workspace
from commands import carrara


@trainer
def planted(train, validation, task, x=0.0, kind="worse"):
    """As good as x is near 0.7, and better of one kind than of the other."""
    error = (x - 0.7) ** 2 + (0.0 if kind == "better" else 0.3)
    for number in range(1, 21):
        task.report(number, error + 1 / number)
    if kind == "broken":
        raise TrainingError("it broke")

    def predict(rows):
        return validation.labels + error

    return Fitted(predict, lambda: b"", {}, {}, ())


def tuned(space, *, trials: int, jobs: int = 1, known=(), made=None, sampler="tpe"):
    made = made or replace(model("regression", planted), search=space)
    found: list[Trial] = []
    prepared = prepare(made, FEATURES_OF, PARTS)
    given = {"trials": trials, "jobs": jobs, "known": known, "sampler": sampler}
    best = tune(made, prepared, **given, keep=found.append, advance=lambda *_: None)
    return best, found


SPACE = {"x": Between(0.0, 1.0), "kind": OneOf(("worse", "better"))}


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_optimum_of_a_known_surface_is_found(jobs):
    best, found = tuned(SPACE, trials=40, jobs=jobs)
    assert len(found) == 40
    assert best.parameters["kind"] == "better"
    assert abs(best.parameters["x"] - 0.7) < 0.1
    assert best.value == min(trial.value for trial in found if trial.value is not None)
    given_up = [len(trial.losses) for trial in found if trial.state == "pruned"]
    assert sum(rounds < 20 for rounds in given_up) >= 5
    # Of trials at once, one may learn from another only after its own last round.
    assert all(10 <= rounds < (20 if jobs == 1 else 21) for rounds in given_up)


def test_one_seed_tries_the_same_and_the_first_trial_is_what_was_declared():
    one, other = (tuned(SPACE, trials=8)[1] for _ in range(2))
    assert [trial.parameters for trial in one] == [trial.parameters for trial in other]
    made = replace(model("regression", planted(x=0.25, kind="better")), search=SPACE)
    assert tuned(SPACE, trials=1, made=made)[1][0].parameters == {"x": 0.25, "kind": "better"}


def test_a_grid_tries_every_point_once_as_fine_as_the_trials_allow():
    best, found = tuned(SPACE, trials=23, sampler="grid", jobs=2)
    tried = [tuple(trial.parameters.values()) for trial in found]
    assert len(tried) == len(set(tried)) == 22
    assert {x for x, _ in tried} == {number / 10 for number in range(11)}
    assert best.parameters == {"x": 0.7, "kind": "better"}
    _, lacking = tuned(SPACE, trials=23, sampler="grid", known=found[:20])
    assert len(lacking) == 2
    whole = grid({"depth": Between(3, 5), "rate": Between(0.001, 0.1, log=True)}, 9)
    assert {point["depth"] for point in whole} == {3, 4, 5}
    assert sorted({round(point["rate"], 6) for point in whole}) == [0.001, 0.01, 0.1]
    with pytest.raises(DefinitionError, match=r"(?s)x, kind has 4 points at least.*--trials 4"):
        grid(SPACE, 3)


def test_trials_at_random_are_the_same_of_one_seed_and_learn_nothing_of_one_another():
    one, other = (tuned(SPACE, trials=8, sampler="random")[1] for _ in range(2))
    assert [trial.parameters for trial in one] == [trial.parameters for trial in other]
    assert max(trial.parameters["x"] for trial in one) > 0.75 > 0.4 > min(trial.parameters["x"] for trial in one)


def test_trials_of_before_count_and_teach():
    _, before = tuned(SPACE, trials=10)
    best, found = tuned(SPACE, trials=14, known=before)
    assert len(found) == 4
    assert best.value <= min(trial.value for trial in before if trial.value is not None)


def test_a_trial_that_fails_is_kept_with_its_error_and_others_go_on():
    best, found = tuned({"x": Between(0, 1), "kind": OneOf(("better", "broken"))}, trials=12)
    assert {trial.error for trial in found if trial.state == "failed"} == {"it broke"}
    assert best.parameters["kind"] == "better"
    with pytest.raises(TrainingError, match="no trial came to its end: it broke"):
        tuned({"kind": OneOf(("broken",))}, trials=2)


def test_what_cannot_be_searched_is_said():
    with pytest.raises(NotFoundError, match=r"(?s)no hyper-parameter 'dept'.*Did you mean 'depth'"):
        replace(model("binary", XGBoost()), search={"dept": Between(1, 2)})
    with pytest.raises(DefinitionError, match=r"declares no search.*'planted' has none"):
        tuned({}, trials=1)
    with pytest.raises(DefinitionError, match="has no numbers in it"):
        Between(3, 1)
    from sklearn.linear_model import Ridge

    with pytest.raises(DefinitionError, match="Ridge: Invalid parameter"):
        Sklearn(Ridge()).with_parameters(alfa=1)


@pytest.mark.parametrize("one", [XGBoost(trees=5), Linear()])
def test_trainers_have_spaces_of_their_own(one):
    best, found = tuned({}, trials=3, made=model("binary", one))
    assert set(best.parameters) == set(one.space)
    assert {trial.state for trial in found} <= {"complete", "pruned"}
    assert all(np.isfinite(trial.value) for trial in found if trial.value is not None)


def test_the_best_trial_becomes_the_run_and_all_are_kept(fresh):
    trained = fresh.train("late", trials=4, jobs=2)
    record = fresh.models.record(str(trained.version))
    trials = fresh.models.trials("late")
    assert [trial.number for trial in trials] == [1, 2, 3, 4]
    best = max((t for t in trials if t.value is not None), key=lambda t: t.value)
    tuning = record["summary"]["tuning"]
    assert (tuning["parameters"], tuning["metric"], tuning["trials"]) == (best.parameters, "roc_auc", 4)
    assert (tuning["trial"], tuning["sampler"]) == (best.number, "tpe")
    assert best.parameters.items() <= record["configuration"]["trainer"].items()
    again = fresh.train("late", trials=4)
    assert (again.version, again.reused) == (trained.version, True)
    assert len(fresh.models.trials("late")) == 4


@pytest.mark.slow
def test_tuning_that_was_killed_goes_on_with_the_trials_that_had_ended(fresh):
    folder = fresh.root
    fresh.close()
    command = [sys.executable, "-m", "carrara", "train", "late", "-w", str(folder)]
    process = subprocess.Popen([*command, "--trials", "500"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Workspace(folder) as watching:
        while len(watching.models.trials("late")) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ended = [trial.number for trial in watching.models.trials("late")]
    done = subprocess.run([*command, "--trials", str(len(ended) + 2), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = carrara("model", "trials", "late", "--json", "-w", folder)
    assert [trial["number"] for trial in json.loads(listed.stdout)] == [*ended, len(ended) + 1, len(ended) + 2]
