"""How often a version's answers turn when what should not decide is swapped: its own test rows, asked twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import DataError
from carrara.core.html import card, section
from carrara.data.rows import Rows, rows_at
from carrara.evaluation.counterfactual import Swap
from carrara.evaluation.flip_gates import FlipsAtMost
from carrara.evaluation.metrics import METRICS_OF, MetricValue, measure
from carrara.evaluation.slices import SliceResult, measure_slices
from carrara.features.service import ResolvedFeatures
from carrara.models.notebook import metrics_table, slices_table
from carrara.models.registry import ModelVersion, opened, read_record
from carrara.models.runtimes.base import Servable
from carrara.pipelines.evaluate_step import metric_weights
from carrara.pipelines.judged_columns import require_binary
from carrara.pipelines.scoring import recorded_model, row_columns, scores_of, test_rows
from carrara.storage.stores import Stores
from carrara.training.model import Model

_MOST_EXAMPLES = 10


@dataclass(frozen=True)
class Counterfactual:
    """What became of the answers to the `asked` of `rows` test rows that have one of the swapped values: flip rates as
    shares of those asked, by slice too, and `examples` of rows that turned, those whose score moved most."""

    version: str
    swap: Swap
    rows: int
    asked: int
    threshold: float
    metrics: Mapping[str, MetricValue]
    slices: Sequence[SliceResult]
    examples: Sequence[Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "swap": self.swap.spec(),
            "metrics": {name: value.as_dict() for name, value in self.metrics.items()},
            "slices": [one.as_dict() for one in self.slices],
            "examples": list(self.examples),
        }

    def _repr_html_(self) -> str:
        told = self.as_dict()
        return card(
            f"{self.version}, by {self.swap.name}",
            metrics_table(told["metrics"]),
            section("Slices", slices_table(told["slices"])),
            lead=f"{self.asked:,} of {self.rows:,} test rows were asked twice",
        )


def counterfactual(stores: Stores, version: ModelVersion, swap: Swap) -> Counterfactual:
    """Ask a version its test rows, and the same with the values of the swap exchanged.

    DataError for a model that is not binary, and where no row has the values; NotFoundError for an unknown feature.
    """
    model, service = recorded_model(stores, version)
    require_binary(model, str(version))
    rows = test_rows(stores, version, model, read_record(stores, version))
    with opened(stores, version) as servable:
        typed = _typed(swap, servable, rows, str(version))
        asked = rows.filter(typed.asked)
        if not asked.height:
            raise DataError(f"no test row of {version} has one of the values of {typed.name}")
        before, after = scores_of(servable, asked), scores_of(servable, asked, typed.swapped)
    options = _options(model, asked)
    return Counterfactual(
        version=str(version),
        swap=typed,
        rows=rows.height,
        asked=asked.height,
        threshold=model.threshold,
        metrics=measure(before, after, METRICS_OF["flips"], **options),
        slices=_slices(model, asked, before, after, options),
        examples=_examples(model, service, typed, asked, before, after),
    )


def flips_of_gates(servable: Servable, model: Model, rows: Rows) -> dict[Swap, dict[str, MetricValue]]:
    """What the gates of a model on swaps look at; nothing of a swap that no row has the values of."""
    found: dict[Swap, dict[str, MetricValue]] = {}
    for gate in model.gates:
        if isinstance(gate, FlipsAtMost) and gate.swap not in found:
            typed = _typed(gate.swap, servable, rows, f"the test rows of '{model.name}'")
            asked = rows.filter(typed.asked)
            if not asked.height:
                found[gate.swap] = {}
                continue
            before, after = scores_of(servable, asked), scores_of(servable, asked, typed.swapped)
            found[gate.swap] = measure(before, after, METRICS_OF["flips"], **_options(model, asked))
    return found


def _typed(swap: Swap, servable: Servable, rows: Rows, where: str) -> Swap:
    return swap.typed({spec.name: rows.schema[spec.name] for spec in servable.signature.inputs}, where)


def _options(model: Model, asked: Rows) -> dict[str, Any]:
    return {
        "kind": "flips",
        "threshold": model.threshold,
        "weights": metric_weights(model, asked),
        "seed": model.seed,
        "intervals": model.intervals,
    }


def _slices(model: Model, asked: Rows, before: Any, after: Any, options: Mapping[str, Any]) -> list[SliceResult]:
    names = ("flip_rate", "positive_to_negative", "negative_to_positive")
    crosses = model.slicing.crosses
    return measure_slices(before, after, model.slicing.cells(asked), names, crosses=crosses, **options)


def _examples(
    model: Model, service: ResolvedFeatures, swap: Swap, asked: Rows, before: Any, after: Any
) -> list[dict[str, Any]]:
    turned = np.flatnonzero((before >= model.threshold) != (after >= model.threshold))
    moved = np.argsort(-np.abs(after[turned] - before[turned]), kind="stable")
    places = turned[moved[:_MOST_EXAMPLES]].tolist()
    names = dict.fromkeys((*row_columns(service, model.label.time), *model.label.columns, *swap.features))
    shown = rows_at(asked, list(names), places).iter_rows(named=True)
    return [
        {**row, "before": float(before[place]), "after": float(after[place])}
        for place, row in zip(places, shown, strict=True)
    ]
