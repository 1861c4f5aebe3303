"""From one answer back to everything that made it: its request, its features and their rows, the model, the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.figures import when
from carrara.core.html import card, figures, note, section, table
from carrara.core.svg import signed_bar
from carrara.features.training_set import kept_training_set
from carrara.metadata.decisions import decisions_of
from carrara.models.address import ModelAddress
from carrara.models.registry import ModelVersion, list_models, resolve
from carrara.models.signature import DEFAULT_SIGNATURE
from carrara.monitoring.judge import Judge
from carrara.monitoring.outcomes import KNOWN_AT, LABEL, join_outcomes
from carrara.monitoring.parity import service_of
from carrara.monitoring.prediction_log import log_table, once, scan_log
from carrara.monitoring.source_rows import SourceRow, source_row
from carrara.pipelines.contributions import Contributions, contributions_of
from carrara.pipelines.trees import read_trees
from carrara.storage.stores import Stores

_NEIGHBOURS = 5
_MOST_FEATURES = 30
_MOST_TRAINING_ROWS = 200_000


@dataclass(frozen=True)
class ExplainedFeature:
    """A feature as it was used: `contribution` is what it added to the model's margin, `typical` training's median."""

    name: str
    value: Any
    contribution: float | None
    typical: Any
    source: str
    event_time: datetime | None


@dataclass(frozen=True)
class ExplainedPrediction:
    """All that is known of one prediction; `features` with the largest contribution first."""

    prediction_id: str
    version: str
    event_time: datetime
    logged_at: datetime
    endpoint: str
    arm: str
    latency_seconds: float | None
    request: dict[str, Any]
    answer: dict[str, Any]
    features: list[ExplainedFeature]
    sources: list[SourceRow]
    contributions_by: str
    base: float | None
    tree: int | None
    path: list[str]
    neighbours: list[dict[str, Any]]
    outcome: Any
    outcome_known_at: datetime | None
    shadows: list[dict[str, Any]]
    model: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        features = [vars(one) for one in self.features]
        return {**vars(self), "features": features, "sources": [one.as_dict() for one in self.sources]}

    def _repr_html_(self) -> str:
        most = max((abs(one.contribution) for one in self.features if one.contribution is not None), default=0.0)
        rows = [
            (f.name, f.value, f.typical, f.contribution, signed_bar((f.contribution or 0.0) / most if most else 0.0))
            for f in self.features[:_MOST_FEATURES]
        ]
        return card(
            f"One prediction of {self.version}",
            figures({**self.answer, "What happened": "not known" if self.outcome is None else self.outcome}),
            section("What was asked", figures(self.request) if self.request else note("Features only.")),
            section("Why", table(["feature", "value", "typical", "adds", ""], rows)),
            lead=f"{self.prediction_id}, as of {when(self.event_time)} UTC",
        )


def explain_prediction(stores: Stores, prediction_id: str, *, model: str | None = None) -> ExplainedPrediction:
    """Everything that is known of a logged prediction; NotFoundError where no log has it."""
    name, rows = _find(stores, prediction_id, model)
    row = rows.row(0, named=True)
    version = resolve(stores, ModelAddress(name, row["version"]))
    judge, service = Judge.of(stores, version), service_of(stores, version)
    try:
        features = rows.head(1).select(list(judge.features))
        contributions = contributions_of(judge, features)
        joined = join_outcomes(stores, judge.rule, rows.head(1))
        sources = [
            found for view, _ in service.stored if (found := source_row(stores, service, view.name, row)) is not None
        ]
        tree, path = _path(stores, version, features)
        outputs = [one["name"] for one in judge.record["signature"][DEFAULT_SIGNATURE]["outputs"]]
        return ExplainedPrediction(
            prediction_id=prediction_id,
            version=str(version),
            event_time=row["event_time"],
            logged_at=row["logged_at"],
            endpoint=row["endpoint"],
            arm=row["arm"],
            latency_seconds=row["latency_seconds"],
            request={n: row[n] for n in (*service.keys, *service.request) if n in row},
            answer={n: row[n] for n in outputs if n in row},
            features=_features(judge, row, contributions),
            sources=sources,
            contributions_by=contributions.by,
            base=contributions.base,
            tree=tree,
            path=path,
            neighbours=_neighbours(judge, features),
            outcome=joined[LABEL][0],
            outcome_known_at=joined[KNOWN_AT][0],
            shadows=[{"version": one["version"], **{n: one.get(n) for n in outputs}} for one in rows[1:].to_dicts()],
            model=_model(stores, version, judge.record),
        )
    finally:
        judge.close()


def _model(stores: Stores, version: ModelVersion, record: Mapping[str, Any]) -> dict[str, Any]:
    """Who trained the version, from what, with which code, and who has approved it."""
    told = {name: record[name] for name in ("trained_by", "started_at", "ended_at", "datasets", "code")}
    decisions = decisions_of(stores.metadata, version.model, version.version)
    return {**told, "approvals": [decision.as_dict() for decision in decisions]}


def _find(stores: Stores, prediction_id: str, model: str | None) -> tuple[str, pl.DataFrame]:
    """The model whose log has the id, and its rows there: the answer, then what shadows said."""
    names = [model] if model else list(dict.fromkeys(version.model for version in list_models(stores)))
    for name in names:
        if not stores.lake.exists(log_table(name)):
            continue
        rows = once(scan_log(stores, name).filter(pl.col("prediction_id") == prediction_id)).collect()
        if rows.height:
            return name, rows.sort("shadow", maintain_order=True)
    raise NotFoundError(
        "logged prediction", prediction_id, hint="It was not sampled, or is not in the lake yet, or the id is another."
    )


def _features(judge: Judge, row: Mapping[str, Any], contributions: Contributions) -> list[ExplainedFeature]:
    found = []
    for feature in judge.record["features"]:
        name, view = feature["name"], feature["view"]
        at = row.get(f"{view}:event_time")
        source = "request" if row["features_from"] == "request" else view
        found.append(
            ExplainedFeature(
                name, row.get(name), contributions.values.get(name), _typical(feature["statistics"]), source, at
            )
        )
    return sorted(found, key=lambda one: -abs(one.contribution or 0.0))


def _typical(statistics: Mapping[str, Any]) -> Any:
    quantiles = statistics.get("quantiles")
    if quantiles:
        return quantiles[len(quantiles) // 2]
    top = statistics.get("top")
    return top[0]["value"] if top else None


def _path(stores: Stores, version: ModelVersion, features: pl.DataFrame) -> tuple[int | None, list[str]]:
    """The way through the tree that moved this row most; none where the model has no trees."""
    try:
        trees = read_trees(stores, version)
    except CarraraError:
        return None, []
    (way,) = trees.paths(features)
    number = int(np.argmax(np.abs(way.contributions)))
    (way,) = trees.paths(features, number)
    view = {node.number: node for node in trees.view(number).nodes}
    steps = []
    for node in way.nodes or ():
        here = view[node]
        if here.parent is not None:
            above = view[here.parent]
            steps.append(f"{above.rule}: {here.side}")
        if here.value is not None:
            steps.append(f"leaf {here.value:+.4g}")
    return number, steps


def _neighbours(judge: Judge, features: pl.DataFrame) -> list[dict[str, Any]]:
    """The nearest training rows: by each feature's difference in standard deviations, weighted by its importance."""
    found = kept_training_set(judge.stores, judge.version.model, judge.record["datasets"]["training_set"])
    if found is None:
        return []
    kept, table = found
    drawn = table.select(*judge.features, *judge.rule.columns, judge.rule.time).gather_every(
        max(kept.rows // _MOST_TRAINING_ROWS, 1)
    )
    rows = drawn.collect()
    distance = np.zeros(rows.height)
    for name in judge.features:
        distance += judge.importance.get(name, 0.0) * _apart(rows[name], features[name])
    nearest = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
    most = sorted(judge.importance, key=lambda name: -judge.importance[name])[:8]
    return [
        {
            "distance": float(np.sqrt(distance[place])),
            "label": _label(rows, judge.rule.columns, int(place)),
            "time": rows[judge.rule.time][int(place)],
            "features": {name: rows[name][int(place)] for name in most},
        }
        for place in nearest
    ]


def _apart(values: pl.Series, one: pl.Series) -> npt.NDArray[np.float64]:
    """The squared difference of each value from one, in standard deviations; 1 where only one of them is there."""
    if values.dtype == pl.String:
        same: npt.NDArray[np.float64] = (~values.eq_missing(one.cast(pl.String)[0])).cast(pl.Float64).to_numpy()
        return same
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    wanted = float("nan") if one[0] is None else float(one[0])
    with np.errstate(invalid="ignore"):
        spread = float(np.nanstd(numbers)) if np.isfinite(numbers).any() else 0.0
    apart = np.square((numbers - wanted) / (spread or 1.0))
    both = np.isnan(numbers) & np.isnan(wanted)
    return np.where(both, 0.0, np.where(np.isnan(apart), 1.0, apart))


def _label(rows: pl.DataFrame, columns: tuple[str, ...], place: int) -> Any:
    """The label of a row; of several columns those that are true."""
    if len(columns) > 1:
        return [name for name in columns if rows[name][place]]
    found = rows[columns[0]][place]
    return found.to_list() if isinstance(found, pl.Series) else found
