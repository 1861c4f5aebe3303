"""Live quality and drift: logged predictions joined with what then happened, by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.clock import microseconds
from carrara.core.errors import DataError
from carrara.core.html import html_table
from carrara.data import read_dataset
from carrara.evaluation import MAIN_METRICS, Kind, measure
from carrara.features.training_set import as_numpy
from carrara.models.registry import ModelVersion, read_record, recorded_definitions
from carrara.models.signature import DEFAULT_SIGNATURE, ENTITIES_SIGNATURE, EVENT_TIME, PREDICTION_ID
from carrara.monitoring.drift import ReferenceDistribution, feature_drift, one_score
from carrara.monitoring.prediction_log import log_table, read_log
from carrara.storage import Stores

LABEL = "__outcome"
_OUTCOMES = {"binary": pl.Int8(), "multiclass": pl.String(), "regression": pl.Float64()}


@dataclass(frozen=True)
class Window:
    """What was found of the predictions in [start, end): quality where outcomes are known, and drift.

    `metrics` is None as long as no outcome is known; `drift` and `score_drift` are against the training part's
    features and the test part's scores.
    """

    start: datetime
    end: datetime
    predictions: int
    outcomes: int
    metrics: dict[str, Any] | None
    drift: list[dict[str, Any]]
    score_drift: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "start": self.start.isoformat(), "end": self.end.isoformat()}


@dataclass(frozen=True)
class MonitorReport:
    """A model version as it does in production: overall, beside its evaluation, and by window."""

    model: str
    version: int
    as_of: datetime
    predictions: int
    outcomes: int
    metrics: dict[str, Any] | None
    evaluation: dict[str, Any]
    windows: list[Window]

    def as_dict(self) -> dict[str, Any]:
        windows = [window.as_dict() for window in self.windows]
        return {**vars(self), "as_of": self.as_of.isoformat(), "windows": windows}

    def _repr_html_(self) -> str:
        rows = [(f"{w.start:%Y-%m-%d}", w.predictions, w.outcomes, w.drift[0]["feature"]) for w in self.windows]
        title = f"{self.model}@{self.version}, {self.predictions:,} predictions"
        return html_table(title, ["window", "predictions", "outcomes", "drifted most"], rows)


def monitor(
    stores: Stores, version: ModelVersion, *, window: timedelta, names: Sequence[str] | None = None
) -> MonitorReport:
    """Join the log with the outcomes known by the stores' clock, and judge it as a whole and by window.

    Windows start with the first prediction's day; `names` are by default the main metrics of the model's kind. Raises
    DataError when nothing was predicted yet: a version without predictions is not healthy, it is not known.
    """
    joined = join_outcomes(stores, version)
    record = read_record(stores, version)
    judged = _Judged.of(record, names)
    known = joined.drop_nulls(LABEL)
    return MonitorReport(
        model=version.model,
        version=version.version,
        as_of=stores.clock(),
        predictions=joined.height,
        outcomes=known.height,
        metrics=judged.metrics(known),
        evaluation={n: record["metrics"]["test"][n] for n in judged.names if n in record["metrics"]["test"]},
        windows=[_window(start, end, rows, judged) for start, end, rows in _windows(joined, window)],
    )


@dataclass(frozen=True)
class _Judged:
    """By what a version's predictions are judged: its kind, its output, and what was seen in training."""

    kind: Kind
    score: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    features: Mapping[str, ReferenceDistribution]
    scores: ReferenceDistribution

    @classmethod
    def of(cls, record: Mapping[str, Any], names: Sequence[str] | None) -> _Judged:
        kind: Kind = record["configuration"]["label"].get("kind", "binary")
        return cls(
            kind=kind,
            score=record["signature"][DEFAULT_SIGNATURE]["outputs"][0]["name"],
            classes=tuple(record["parameters"].get("classes", ())),
            names=tuple(names or MAIN_METRICS[kind]),
            features={f["name"]: ReferenceDistribution.from_dict(f["distribution"]) for f in record["features"]},
            scores=ReferenceDistribution.from_dict(record["summary"]["scores"]),
        )

    def scores_of(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        return np.array(rows[self.score].to_list(), dtype=np.float64)

    def metrics(self, known: pl.DataFrame) -> dict[str, Any] | None:
        if known.is_empty():
            return None
        labels = known[LABEL].to_numpy()
        if self.kind == "multiclass":
            labels = np.array([self.classes.index(label) if label in self.classes else -1 for label in labels])
            known, labels = known.filter(labels >= 0), labels[labels >= 0]
        found = measure(labels.astype(np.float64), self.scores_of(known), self.names, kind=self.kind)
        return {name: value.as_dict() for name, value in found.items()}


def join_outcomes(stores: Stores, version: ModelVersion) -> pl.DataFrame:
    """Every logged prediction of a version, with `__outcome`: 1, 0, a class or a number, or null while it is not known.

    An outcome counts from the moment at which it became known, by the model's label; it is matched by entity
    keys and time.
    """
    if not stores.lake.exists(log_table(version.model)):
        raise DataError(
            f"no prediction of {version} is logged yet", hint=f"carrara serve, or carrara predict {version.model}"
        )
    everything = read_log(stores, version.model)
    log = everything.filter(pl.col("version") == version.version)
    if log.is_empty():
        others = ", ".join(f"{version.model}@{number}" for number in everything["version"].unique().sort())
        raise DataError(f"no prediction of {version} is logged yet", hint=f"There are predictions of {others}.")
    label = recorded_definitions(stores, version).of_kind("model")[version.model].label
    outcomes = read_dataset(stores, label.dataset).filter(pl.col(label.known_at or label.time) <= stores.clock())
    keys = [name for name in _entity_keys(stores, version) if name in log.columns]
    wanted = outcomes.select(
        *keys, pl.col(label.time).alias("event_time"), pl.col(label.column).cast(_OUTCOMES[label.kind]).alias(LABEL)
    ).collect()
    on = [*keys, "event_time"]
    return log.join(wanted.unique(on, keep="last"), on=on, how="left", maintain_order="left")


def _entity_keys(stores: Stores, version: ModelVersion) -> list[str]:
    record = read_record(stores, version)
    request = [t["name"] for t in record["signature"][ENTITIES_SIGNATURE]["inputs"] if t["dtype"] == "string"]
    return [name for name in request if name not in (EVENT_TIME, PREDICTION_ID)]


def _windows(rows: pl.DataFrame, length: timedelta) -> list[tuple[datetime, datetime, pl.DataFrame]]:
    times = rows["event_time"]
    start = times.dt.truncate("1d").min()
    assert isinstance(start, datetime)
    place = (times.dt.timestamp("us") - microseconds(start)) // microseconds(length)
    return [
        (start + length * number, start + length * (number + 1), rows.filter(place == number))
        for number in place.unique().sort().to_list()
    ]


def _window(
    start: datetime,
    end: datetime,
    rows: pl.DataFrame,
    judged: _Judged,
) -> Window:
    known = rows.drop_nulls(LABEL)
    columns = {name: as_numpy(rows[name]) for name in judged.features}
    return Window(
        start=start,
        end=end,
        predictions=rows.height,
        outcomes=known.height,
        metrics=judged.metrics(known),
        drift=[drift.as_dict() for drift in feature_drift(judged.features, columns)],
        score_drift=feature_drift({judged.score: judged.scores}, {judged.score: one_score(judged.scores_of(rows))})[
            0
        ].as_dict(),
    )


def live_metrics(
    stores: Stores, version: ModelVersion, since: datetime, names: Sequence[str]
) -> tuple[dict[str, Any] | None, int]:
    """What a version's predictions since a moment came to, by outcomes that are known, and how many are."""
    known = join_outcomes(stores, version).filter(pl.col("logged_at") >= since).drop_nulls(LABEL)
    return _Judged.of(read_record(stores, version), names).metrics(known), known.height
