"""The gates of a training: what they look at is gathered, as far as one of them asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from carrara.core.clock import duration
from carrara.core.errors import CarraraError
from carrara.data.rows import Rows
from carrara.data.versions import dataset_version
from carrara.evaluation.counterfactual import Swap
from carrara.evaluation.disagreement import flips_between
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.flip_gates import FlipsAtMost, FlipsFromChampionAtMost
from carrara.evaluation.gap_gates import GapNotWiderThanChampion
from carrara.evaluation.gates import NotWorseThanChampion, judge_gates
from carrara.evaluation.metrics import MetricValue
from carrara.evaluation.paired import PairedDifference, paired_differences
from carrara.evaluation.paired_slices import NoSliceWorseThanChampion, paired_slices
from carrara.evaluation.readiness_gates import NullsHandled
from carrara.evaluation.serving_gates import MOST_ROWS, TRIED, DataValidated, LatencyAtMost, SafeToServe
from carrara.evaluation.trial import Trial
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import TrainingSet
from carrara.models.registry import ModelVersion, champion, written_record
from carrara.models.signature import Signature
from carrara.pipelines.counterfactual import flips_of_gates
from carrara.pipelines.evaluate_step import metric_weights, open_fitted
from carrara.pipelines.readiness import readiness
from carrara.pipelines.scoring import recorded_model, row_columns, scores_of, version_scores
from carrara.pipelines.steps import TrainingWork
from carrara.serving.trial import try_to_serve, without_numbers
from carrara.serving.warm_up import drawn, recorded
from carrara.storage.stores import Stores
from carrara.training.labels import encoded, queries
from carrara.training.model import Model

_BY_SLICE = (NoSliceWorseThanChampion, GapNotWiderThanChampion)
_BESIDE = (NotWorseThanChampion, FlipsFromChampionAtMost, *_BY_SLICE)
_TRIED = (*TRIED, NullsHandled)


@dataclass(frozen=True)
class Paired:
    """The differences to the champion, of all rows and slice by slice where a gate asks for it; `flips` are how many of
    its answers are others, of a binary model."""

    whole: dict[str, PairedDifference]
    slices: dict[str, dict[str, PairedDifference]]
    flips: dict[str, MetricValue]


def judge_step(
    work: TrainingWork,
    training_set: TrainingSet,
    fitted: Mapping[str, Any],
    parts: Mapping[str, Rows],
    evaluation: Evaluation,
) -> dict[str, Any]:
    """What the gates of the model say, and what they have seen, as the record keeps it."""
    gates, stores = work.model.gates, work.stores
    current = champion(stores, work.model.name)
    trial = _tried(work, fitted, parts["test"]) if any(isinstance(gate, _TRIED) for gate in gates) else None

    def beside(other: ModelVersion) -> Paired:
        return _beside(work, fitted, parts["test"], other)

    flips = _flips(work, fitted, parts["test"])
    found = replace(readiness(work, training_set, parts, evaluation), trial=trial, flips=flips)
    gathered = gather(stores, work.model, work.service, found, current, beside)
    evidence = gathered.evidence
    return {
        **judge_gates(gates, evidence),
        "champion": str(current) if current is not None else None,
        "unasked": gathered.unasked,
        "paired": {name: pair.as_dict() for name, pair in (evidence.paired or {}).items()},
        "paired_flips": _plain(evidence.paired_flips or {}),
        "flips": [{"swap": swap.spec(), "metrics": _plain(turned)} for swap, turned in flips.items()],
        "trial": trial.as_dict() if trial is not None else None,
    }


@dataclass(frozen=True)
class Gathered:
    """What gates look at, and why another version `unasked` could not be asked on the same rows."""

    evidence: Evidence
    unasked: str


def gather(
    stores: Stores,
    model: Model,
    service: ResolvedFeatures,
    found: Evidence,
    other: ModelVersion | None,
    beside: Callable[[ModelVersion], Paired],
) -> Gathered:
    """What was `found` of a model itself, and further evidence as far as one of its gates asks for it; `beside` asks
    the `other` version, which gates on the champion are held against."""
    paired, unasked = None, ""
    if other is not None and any(isinstance(gate, _BESIDE) for gate in model.gates):
        try:
            paired = beside(other)
        except CarraraError as error:
            unasked = f"{other} could not be asked on these rows: {error.message}"
    looked = any(isinstance(gate, DataValidated) for gate in model.gates)
    evidence = replace(
        found,
        champion=written_record(stores, other)["metrics"]["test"] if other is not None else None,
        anomalies=anomalies(stores, model, service) if looked else None,
    )
    if paired is not None:
        evidence = replace(
            evidence, paired=paired.whole, paired_slices=paired.slices, paired_flips=paired.flips or None
        )
    return Gathered(evidence, unasked)


def _beside(work: TrainingWork, fitted: Mapping[str, Any], rows: Rows, current: ModelVersion) -> Paired:
    """The differences to the champion, both asked on the new model's test rows."""
    model, classes = work.model, tuple(fitted["classes"])
    with closing(open_fitted(work.stores, fitted)) as servable:
        ours = scores_of(servable, rows)
    labels = encoded(model.label, rows, classes, f"the test part of '{model.name}'")
    return differences_to(work.stores, current, model, rows, labels, ours, classes)


def differences_to(
    stores: Stores,
    current: ModelVersion,
    model: Model,
    rows: Rows,
    labels: Any,
    ours: Any,
    classes: tuple[str, ...],
) -> Paired:
    """How a model's scores differ from what another version answers to the same rows; CarraraError where that cannot be
    asked."""
    if list(classes) != list(written_record(stores, current)["parameters"].get("classes", [])):
        raise CarraraError("it knows other classes")
    their_model, service = recorded_model(stores, current)
    time = model.label.time
    theirs = version_scores(stores, current, service, rows.select(row_columns(service, time)), time)
    options: dict[str, Any] = {"kind": model.label.kind, "threshold": model.threshold, "seed": model.seed}
    options["intervals"] = model.intervals
    options["weights"] = metric_weights(model, rows)
    options["groups"] = queries(model.label, rows, f"the test part of '{model.name}'")
    whole = paired_differences(labels, theirs, ours, model.measured, **options)
    flips = {}
    if any(isinstance(gate, FlipsFromChampionAtMost) for gate in model.gates):
        drawn = {name: options[name] for name in ("weights", "seed", "intervals")}
        flips = flips_between(theirs, ours, thresholds=(their_model.threshold, model.threshold), **drawn)
    by_slice = [gate for gate in model.gates if isinstance(gate, _BY_SLICE)]
    if not by_slice:
        return Paired(whole, {}, flips)
    columns, crosses = model.slicing.cells(rows), model.slicing.crosses
    metrics = list({str(gate.metric): gate.metric for gate in by_slice}.values())
    fewest = min(gate.min_rows for gate in by_slice)
    found = paired_slices(labels, theirs, ours, columns, metrics, crosses=crosses, min_rows=fewest, **options)
    return Paired(whole, found, flips)


def _flips(work: TrainingWork, fitted: Mapping[str, Any], rows: Rows) -> dict[Swap, dict[str, MetricValue]]:
    if not any(isinstance(gate, FlipsAtMost) for gate in work.model.gates):
        return {}
    with closing(open_fitted(work.stores, fitted)) as servable:
        return flips_of_gates(servable, work.model, rows)


def _plain(values: Mapping[str, MetricValue]) -> dict[str, Any]:
    return {name: value.as_dict() for name, value in values.items()}


def warm_up_requests(model: Model, fitted: Mapping[str, Any], rows: Rows) -> bytes:
    """The requests that come with a version, of test rows, where a gate asks for them."""
    count = max((gate.warm_up for gate in model.gates if isinstance(gate, SafeToServe)), default=0)
    signature = Signature.from_dict(fitted["signature"])
    return recorded(model.name, drawn(signature, _asked(signature, rows), count)) if count else b""


def _asked(signature: Signature, rows: Rows) -> pl.DataFrame:
    """Rows that an artifact is tried with, evenly drawn; none has a text that is missing."""
    every = max(rows.height // MOST_ROWS, 1)
    texts = [spec.name for spec in signature.inputs if spec.dtype == "string"]
    asked = rows.gather_every(every).select([spec.name for spec in signature.inputs])
    return asked.filter([pl.col(name).is_not_null() for name in texts] or [pl.lit(True)]).head(MOST_ROWS)


def _tried(work: TrainingWork, fitted: Mapping[str, Any], rows: Rows) -> Trial:
    signature = Signature.from_dict(fitted["signature"])
    asked = _asked(signature, rows)
    lacking = without_numbers(asked, signature)
    with closing(open_fitted(work.stores, fitted)) as servable:
        expected = scores_of(servable, pl.concat([asked, lacking.select(asked.columns)]))
    return tried(work, fitted, asked, expected, lacking)


def tried(
    work: TrainingWork,
    fitted: Mapping[str, Any],
    asked: pl.DataFrame,
    expected: Any,
    lacking: pl.DataFrame | None = None,
) -> Trial:
    """Another process serves the artifact, and is asked rows of features, and those that are `lacking` some; `expected`
    are the answers to all of them."""
    gates = [gate for gate in work.model.gates if isinstance(gate, SafeToServe)]
    timed = any(isinstance(gate, LatencyAtMost | NullsHandled) for gate in work.model.gates)
    count = MOST_ROWS if timed else max((gate.rows for gate in gates), default=MOST_ROWS)
    some, rest = asked.head(count), asked.height
    expected = np.concatenate([expected[: some.height], expected[rest:]]) if count else expected[:0]
    return try_to_serve(
        work.stores.artifacts.get_files(fitted["servable"]),
        format=fitted["format"],
        signature=Signature.from_dict(fitted["signature"]),
        rows=some,
        lacking=lacking if count else None,
        expected=expected,
        within_seconds=min((duration(gate.within).total_seconds() for gate in gates), default=60.0),
        servers=list(dict.fromkeys(one for gate in gates for one in gate.servers)),
        tries=max((gate.tries for gate in gates), default=1),
    )


def anomalies(stores: Stores, model: Model, service: ResolvedFeatures) -> list[str]:
    """What is wrong with the newest versions of the datasets that a model reads."""
    names = {view.source for view, _ in service.stored} | {model.label.dataset}
    found = []
    for name in sorted(names):
        version = dataset_version(stores, name)
        found += [f"{version.name}@{version.version}: {anomaly['message']}" for anomaly in version.anomalies]
    return found
