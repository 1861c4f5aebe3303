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
from carrara.evaluation.metrics import MAIN_METRICS, Kind, Metric, measure, metric
from carrara.evaluation.slices import measure_slices
from carrara.features.training_set import TrainingSet, kept_training_set
from carrara.models.registry import ModelVersion, open_version, read_record
from carrara.models.runtimes.base import Servable
from carrara.models.signature import DEFAULT_SIGNATURE
from carrara.monitoring.domain import usual_auc
from carrara.monitoring.drift import ReferenceDistribution, one_score
from carrara.monitoring.estimate import calibration_of, calibrations_of, estimated, estimated_of_classes
from carrara.monitoring.loss_estimate import estimated_errors
from carrara.monitoring.outcomes import LABEL, OutcomeRule, labels_of
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
            return rows.select(list(self.features)).gather_every(max(kept.rows // _TRAINING_ROWS, 1)).collect()
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
        return None if found is None else tested_rows(self.stores, self.version, found[1], self.servable, self.classes)

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
        labels, known = self._labels(known)
        if known.is_empty() or self.kind not in _KINDS or not self._has_queries(known):
            return None
        resamples = int(np.clip(_RESAMPLED_ROWS // known.height, 20, 200))
        options: Any = {"bootstrap": resamples, "groups": self._queries(known), **self._measured}
        found = measure(labels, self.scores_of(known), asked or self.names, **options)
        return {name: value.as_dict() for name, value in found.items()}

    def slices(self, known: pl.DataFrame) -> list[dict[str, Any]]:
        """The main metric of each slice that the evaluation looked at, as far as its column is known."""
        labels, known = self._labels(known)
        at = [pl.col("event_time").alias(self.rule.time)] if "event_time" in known.columns else []
        rows = known.with_columns(at)
        slicing = self.rule.slicing.within(rows.columns)
        if known.is_empty() or not slicing.names or self.kind not in _KINDS or not self._has_queries(known):
            return []
        found = measure_slices(
            labels,
            self.scores_of(known),
            slicing.cells(rows),
            self.names[:1],
            crosses=slicing.crosses,
            groups=self._queries(known),
            min_rows=_LEAST_SLICE,
            bootstrap=50,
            **self._measured,
        )
        return [one.as_dict() for one in found]

    def estimate(self, answers: pl.DataFrame, sample: pl.DataFrame) -> dict[str, float] | None:
        """The metrics as they probably are, without an outcome; None where that cannot be known.

        By the scores of all `answers` where they are probabilities, by the features of a `sample` for a number.
        """
        if answers.is_empty() or (self.kind != "binary" and self.tested is None):
            return None
        scores = self.scores_of(answers)
        if self.kind == "binary":
            calibration, threshold = calibration_of(self.record), self._measured["threshold"]
            return estimated(one_score(scores), self.names, calibration=calibration, threshold=threshold)
        assert self.tested is not None
        if self.kind == "multiclass":
            calibrations = calibrations_of(self.tested.labels, self.tested.scores)
            return estimated_of_classes(scores, self.names, calibrations=calibrations)
        return self._estimated_errors(self.tested, sample) if self.kind == "regression" else None

    def _estimated_errors(self, tested: Tested, sample: pl.DataFrame) -> dict[str, float] | None:
        names = [name for name in tested.features.columns if name in sample.columns]
        known = tested.features.select(names).with_columns(pl.Series(self.output, tested.scores))
        window = sample.select(*names, self.output)
        return estimated_errors(tested.scores - tested.labels, known, window, self.names) or None

    @property
    def _measured(self) -> dict[str, Any]:
        """How the evaluation measured, so that live figures can be held against its own."""
        said = self.record["configuration"]
        return {
            "kind": self.kind,
            "threshold": float(said.get("threshold", 0.5)),
            "intervals": said.get("intervals", "bootstrap"),
        }

    def worse_than_evaluated(self, metrics: Mapping[str, Any] | None) -> list[str]:
        """The metrics whose interval is wholly on the worse side of the evaluation's."""
        return [name for name in metrics or {} if self._is_worse(name, (metrics or {})[name])]

    def _is_worse(self, name: str, live: Mapping[str, Any]) -> bool:
        then, better = self.evaluation.get(name), metric(name, self.kind).greater_is_better
        if then is None or better is None or None in (live["low"], live["high"], then["low"], then["high"]):
            return False
        return bool(live["high"] < then["low"]) if better else bool(live["low"] > then["high"])

    def _has_queries(self, known: pl.DataFrame) -> bool:
        return self.rule.group is None or self.rule.group in known.columns

    def _queries(self, known: pl.DataFrame) -> npt.NDArray[Any] | None:
        """The query of each row of a ranking."""
        return None if self.rule.group is None else known[self.rule.group].to_numpy()

    def _labels(self, known: pl.DataFrame) -> tuple[npt.NDArray[np.float64], pl.DataFrame]:
        known = known.drop_nulls([LABEL, *(name for name in [self.rule.group] if name in known.columns)])
        if self.kind == "multilabel":
            found = [set(labels) for labels in labels_of(known[LABEL])]
            told = [[float(name in labels) for name in self.classes] for labels in found]
            return np.array(told, np.float64).reshape(-1, len(self.classes)), known
        if self.kind != "multiclass":
            return known[LABEL].to_numpy().astype(np.float64), known
        known = known.filter(pl.col(LABEL).is_in(self.classes))
        named = {name: place for place, name in enumerate(self.classes)}
        places = known[LABEL].replace_strict(named, return_dtype=pl.Int64)
        return places.to_numpy().astype(np.float64), known
