"""By what a version's predictions are judged: its kind and metrics, its evaluation, and what was seen in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import CarraraError
from carrara.data.rows import every_nth
from carrara.evaluation.metrics import MAIN_METRICS, Kind, Metric, measure, metric
from carrara.evaluation.slices import measure_slices
from carrara.features.training_set import TrainingSet, kept_training_set
from carrara.models.registry import ModelVersion, open_version, read_record
from carrara.models.runtimes.base import Servable
from carrara.models.signature import DEFAULT_SIGNATURE
from carrara.monitoring.domain import usual_auc
from carrara.monitoring.drift import ReferenceDistribution, one_score
from carrara.monitoring.outcomes import LABEL, OutcomeRule, are_outcomes, encode_outcomes
from carrara.monitoring.tested import Tested, tested_rows
from carrara.storage.stores import Stores

_TRAINING_ROWS = 4_000
_RESAMPLED_ROWS = 20_000_000
_LEAST_SLICE = 200
_KINDS = ("binary", "multiclass", "multilabel", "regression", "ranking")
"""The kinds of labels that become known."""


@dataclass(frozen=True)
class Judge:
    """One version, opened once for all of its windows."""

    stores: Stores
    version: ModelVersion
    record: Mapping[str, Any]
    rule: OutcomeRule
    names: tuple[str, ...]

    @classmethod
    def of(cls, stores: Stores, version: ModelVersion, names: Sequence[str] = ()) -> Judge:
        """`names` are metrics, by default the main ones of the model's kind."""
        record = read_record(stores, version)
        kind = record["configuration"]["label"].get("kind", "binary")
        return cls(stores, version, record, OutcomeRule.of(stores, version), tuple(names or MAIN_METRICS[kind]))

    @property
    def kind(self) -> Kind:
        return self.rule.kind

    @property
    def threshold(self) -> float:
        """From which probability on a label counts as predicted."""
        return float(self.record["configuration"].get("threshold", 0.5))

    @cached_property
    def output(self) -> str:
        name: str = self.record["signature"][DEFAULT_SIGNATURE]["outputs"][0]["name"]
        return name

    @cached_property
    def features(self) -> dict[str, ReferenceDistribution]:
        """The training part's distribution of each feature; of a model that was imported unmeasured, none is known."""
        known = (one for one in self.record["features"] if one["distribution"] is not None)
        return {one["name"]: ReferenceDistribution.from_dict(one["distribution"]) for one in known}

    @cached_property
    def scores(self) -> ReferenceDistribution | None:
        """The test part's distribution of the scores, where it was measured."""
        kept = self.record["summary"]["scores"]
        return ReferenceDistribution.from_dict(kept) if kept is not None else None

    @cached_property
    def importance(self) -> dict[str, float]:
        return {feature["name"]: feature["importance"] or 0.0 for feature in self.record["features"]}

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest number of each feature in training."""
        found = {f["name"]: f["statistics"] for f in self.record["features"]}
        return {
            name: (s["min"], s["max"])
            for name, s in found.items()
            if isinstance(s.get("min"), int | float) and isinstance(s.get("max"), int | float)
        }

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation's own values of the metrics; None each, where the model was imported unmeasured."""
        test = self.record["metrics"]["test"]
        if not test:
            return {name: {"value": None, "low": None, "high": None} for name in self.names}
        return {name: test[name] for name in self.names if name in test}

    @cached_property
    def servable(self) -> Servable:
        return open_version(self.stores, self.version)

    def close(self) -> None:
        if "servable" in self.__dict__:
            self.servable.close()

    @cached_property
    def training(self) -> pl.DataFrame | None:
        """Some thousand rows of the training set's features, evenly drawn; None where it is no longer there."""
        found = self._training_set
        if found is None:
            return None
        kept, rows = found
        try:
            return every_nth(rows.select(list(self.features)), kept.rows // _TRAINING_ROWS)
        except (CarraraError, OSError):
            return None

    def usual_auc(self, length: timedelta) -> float | None:
        """How well training rows of so much time are told from the others, by all features; None where unknown."""
        if length not in self._usual:
            try:
                found, names = self._training_set, list(self.features)
                known = None if found is None else usual_auc(found[1], self.rule.time, length, names)
            except (CarraraError, OSError):
                known = None
            self._usual[length] = known
        return self._usual[length]

    @cached_property
    def _usual(self) -> dict[timedelta, float | None]:
        return {}

    @cached_property
    def tested(self) -> Tested | None:
        """Some thousand test rows with what the version says of them; None where they are no longer there."""
        found = self._training_set
        if found is None:
            return None
        return tested_rows(self.stores, self.version, self.rule, found[1], self.servable, self.classes)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.record["parameters"].get("classes", ()))

    @cached_property
    def _training_set(self) -> tuple[TrainingSet, pl.LazyFrame] | None:
        try:
            return kept_training_set(self.stores, self.version.model, self.record["datasets"]["training_set"])
        except (CarraraError, OSError):
            return None

    def score(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The model's answer to rows of features, one number each."""
        signature = self.servable.signature
        return one_score(self.servable.run(signature.tensors(rows))[self.output])

    def scores_of(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        return np.array(rows[self.output].to_list(), dtype=np.float64)

    def metrics(self, known: pl.DataFrame, asked: Sequence[str | Metric] = ()) -> dict[str, Any] | None:
        """The metrics of rows whose outcome is known, or those that are `asked`; None for no rows."""
        found = self._measurable(known)
        if found is None:
            return None
        labels, rows = found
        resamples = int(np.clip(_RESAMPLED_ROWS // rows.height, 20, 200))
        measured = measure(
            labels, self.scores_of(rows), asked or self.names, bootstrap=resamples, **self._options(rows)
        )
        return {name: value.as_dict() for name, value in measured.items()}

    def slices(self, known: pl.DataFrame) -> list[dict[str, Any]]:
        """The main metric of each slice that the evaluation looked at, as far as its column is known."""
        found = self._measurable(known)
        if found is None:
            return []
        labels, rows = found
        if "event_time" in rows.columns:
            rows = rows.with_columns(pl.col("event_time").alias(self.rule.time))
        slicing = self.rule.slicing.within(rows.columns)
        if not slicing.names:
            return []
        measured = measure_slices(
            labels,
            self.scores_of(rows),
            slicing.cells(rows),
            self.names[:1],
            crosses=slicing.crosses,
            min_rows=_LEAST_SLICE,
            bootstrap=50,
            **self._options(rows),
        )
        return [one.as_dict() for one in measured]

    def worse_than_evaluated(self, metrics: Mapping[str, Any] | None) -> list[str]:
        """The metrics whose interval is wholly on the worse side of the evaluation's."""
        return [name for name in metrics or {} if self._is_worse(name, (metrics or {})[name])]

    def _is_worse(self, name: str, live: Mapping[str, Any]) -> bool:
        then, better = self.evaluation.get(name), metric(name, self.kind).greater_is_better
        if then is None or better is None or None in (live["low"], live["high"], then["low"], then["high"]):
            return False
        return bool(live["high"] < then["low"]) if better else bool(live["low"] > then["high"])

    def _options(self, known: pl.DataFrame) -> dict[str, Any]:
        """How rows are measured: as the evaluation did."""
        group, weight = self.rule.group, self.rule.weight
        return {
            "kind": self.kind,
            "threshold": self.threshold,
            "intervals": self.record["configuration"].get("intervals", "bootstrap"),
            "groups": None if group is None else known[group].to_numpy(),
            "weights": None if weight is None else known[weight].cast(pl.Float64).to_numpy(),
        }

    def _measurable(self, known: pl.DataFrame) -> tuple[npt.NDArray[np.float64], pl.DataFrame] | None:
        """Labels and rows, of those that can be measured; None for none."""
        if self.kind not in _KINDS or not set(self.rule.needed) <= set(known.columns):
            return None
        known = known.drop_nulls([LABEL, *self.rule.needed])
        if known.is_empty():
            return None
        labels = encode_outcomes(known[LABEL], self.kind, self.classes)
        there = are_outcomes(labels)
        return (labels[there.to_numpy()], known.filter(there)) if there.any() else None
