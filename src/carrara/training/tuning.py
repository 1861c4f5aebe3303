"""Tuning: trials of hyper-parameters by Optuna's tree-structured Parzen estimator (Bergstra and others, 2011), at
random, or by a grid, with the trials that do worse than the median of those before them at the same round given up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from carrara.core.errors import DefinitionError, TrainingError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Metric, measure, metric
from carrara.training.fit import Prepared
from carrara.training.model import Model
from carrara.training.search import Between, Space, grid
from carrara.training.trainers.base import Pruned, Trainer

SAMPLERS = ("tpe", "random", "grid")

_FIRST_AT_RANDOM = 5
_ROUNDS_BEFORE_GIVING_UP = 10


@dataclass(frozen=True)
class Trial:
    """Hyper-parameters that were tried, the validation metric that they came to, and the loss after each round."""

    parameters: Mapping[str, Any]
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    losses: Sequence[float]
    error: str | None = None


def tuned_metric(model: Model) -> Metric:
    """The metric that trials are compared by: the first of the model's that has a direction."""
    for asked in model.measured:
        one = metric(asked, model.label.kind)
        if one.greater_is_better is not None:
            return one
    raise DefinitionError(f"model '{model.name}' has no metric by which trials could be compared")


def search_space(model: Model) -> Mapping[str, Space]:
    """The spaces that a model declares, or else those of its trainer. Raises DefinitionError where there are none."""
    found: Mapping[str, Space] = model.search or getattr(model.trainer, "space", {})
    if not found:
        raise DefinitionError(
            f"model '{model.name}' declares no search, and its trainer '{model.trainer.name}' has none of its own",
            hint='e.g. Model(…, search={"depth": carrara.Between(3, 10)})',
        )
    return found


def tune(
    model: Model,
    prepared: Prepared,
    *,
    trials: int,
    jobs: int,
    known: Sequence[Trial],
    keep: Callable[[Trial], None],
    advance: Callable[[int, int], None],
    sampler: str = "tpe",
) -> Trial:
    """Try until there are `trials`, those `known` from before among them, and return the best one.

    The first trial are the declared hyper-parameters; of a grid, which has at most so many points, its first. `keep` is
    called with each trial as it ends, by one thread at a time. Raises TrainingError where none came to its end.
    """
    optuna = require("optuna", extra="tune", purpose="tuning")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by = tuned_metric(model)
    more_is_better = bool(by.greater_is_better)
    space = search_space(model)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_FIRST_AT_RANDOM, n_warmup_steps=_ROUNDS_BEFORE_GIVING_UP)
    # Trials are pruned by their loss after each round, and compared by the metric: each in a study of its own.
    direction = "maximize" if more_is_better else "minimize"
    study = optuna.create_study(direction=direction, sampler=_sampler(optuna, sampler, model.seed + len(known), jobs))
    rounds = optuna.create_study(direction="minimize", pruner=pruner)
    distributions = {parameter: _distribution(optuna, one) for parameter, one in space.items()}
    done = list(known)
    for trial in known:
        _add(optuna, study, rounds, trial, _worth(trial, known, more_is_better), distributions)
    if sampler == "grid":
        tried = [dict(trial.parameters) for trial in known]
        lacking = [point for point in grid(space, trials) if point not in tried]
        for point in lacking:
            study.enqueue_trial(point)
        trials = len(known) + len(lacking)
    elif not known:
        study.enqueue_trial(_declared(model.trainer, space), skip_if_exists=True)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if len(done) + len(running) >= trials:
                    return
                asked = study.ask(fixed_distributions=distributions)
                running.add(asked.number)
            trial = _tried(optuna, model, prepared, asked.params, by, rounds)
            with lock:
                running.discard(asked.number)
                done.append(trial)
                value = _worth(trial, done, more_is_better)
                states = optuna.trial.TrialState
                study.tell(asked, value, state=states.FAIL if value is None else states.COMPLETE)
                keep(trial)
                advance(len(done), trials)

    running: set[int] = set()
    with ThreadPoolExecutor(jobs) as pool:
        for ended in [pool.submit(work) for _ in range(jobs)]:
            ended.result()
    return best_of(done, more_is_better)


def _sampler(optuna: Any, name: str, seed: int, jobs: int) -> Any:
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_FIRST_AT_RANDOM, constant_liar=jobs > 1)
    return optuna.samplers.RandomSampler(seed=seed)


def best_of(trials: Sequence[Trial], more_is_better: bool) -> Trial:
    """The best trial that came to its end, the first of equals."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        why = next((trial.error for trial in trials if trial.error), "there is none")
        raise TrainingError(f"no trial came to its end: {why}")
    sign = 1 if more_is_better else -1
    return max(complete, key=lambda trial: sign * (trial.value or 0.0))


def with_parameters(trainer: Trainer, parameters: Mapping[str, Any]) -> Trainer:
    """The trainer with other hyper-parameters."""
    own = getattr(trainer, "with_parameters", None)
    made: Trainer = own(**parameters) if own is not None else replace(trainer, **parameters)  # type: ignore[type-var]
    return made


def _tried(
    optuna: Any, model: Model, prepared: Prepared, parameters: Mapping[str, Any], by: Metric, rounds: Any
) -> Trial:
    losses: list[float] = []
    watched = rounds.ask()

    def report(number: int, loss: float) -> None:
        losses.append(float(loss))
        watched.report(float(loss), number)
        if watched.should_prune():
            raise Pruned

    task = replace(prepared.task, report=report, advance=lambda done, total: None)
    try:
        fitted = with_parameters(model.trainer, parameters).fit(prepared.train, prepared.validation, task)
        scores = np.asarray(fitted.predict(prepared.validation.features), np.float64)
        labels = prepared.validation.labels
        groups = prepared.validation.groups
        value = measure(labels, scores, [by], kind=model.label.kind, bootstrap=0, groups=groups)[by.name].value
    except Pruned:
        rounds.tell(watched, state=optuna.trial.TrialState.PRUNED)
        return Trial(dict(parameters), "pruned", None, losses)
    except TrainingError as error:
        rounds.tell(watched, state=optuna.trial.TrialState.FAIL)
        return Trial(dict(parameters), "failed", None, losses, error.message)
    rounds.tell(watched, losses[-1] if losses else 0.0)
    if np.isnan(value):
        return Trial(dict(parameters), "failed", None, losses, f"{by.name} is undefined")
    return Trial(dict(parameters), "complete", float(value), losses)


def _distribution(optuna: Any, space: Space) -> Any:
    if not isinstance(space, Between):
        return optuna.distributions.CategoricalDistribution(space.values)
    if space.whole:
        return optuna.distributions.IntDistribution(int(space.low), int(space.high), log=space.log)
    return optuna.distributions.FloatDistribution(space.low, space.high, log=space.log)


def _declared(trainer: Trainer, space: Mapping[str, Space]) -> dict[str, Any]:
    """The declared values of what is searched, where they are in it."""
    spec = trainer.spec()
    found = {name: spec.get(name) for name in space}

    def inside(value: Any, one: Space) -> bool:
        if isinstance(one, Between):
            return isinstance(value, int | float) and one.low <= value <= one.high
        return value in one.values

    return {name: value for name, value in found.items() if inside(value, space[name])}


def _worth(trial: Trial, trials: Sequence[Trial], more_is_better: bool) -> float | None:
    """What the estimator learns of a trial: of one that was given up that it is as bad as the worst."""
    if trial.state != "pruned":
        return trial.value
    values = [one.value for one in trials if one.value is not None]
    return (min if more_is_better else max)(values) if values else None


def _add(
    optuna: Any, study: Any, rounds: Any, trial: Trial, worth: float | None, distributions: Mapping[str, Any]
) -> None:
    states = optuna.trial.TrialState
    complete = trial.state == "complete"
    if worth is not None:
        study.add_trial(
            optuna.trial.create_trial(params=dict(trial.parameters), distributions=dict(distributions), value=worth)
        )
    if trial.losses:
        values = dict(enumerate(trial.losses, start=1))
        state = states.COMPLETE if complete else states.PRUNED
        rounds.add_trial(optuna.trial.create_trial(state=state, value=trial.losses[-1], intermediate_values=values))
