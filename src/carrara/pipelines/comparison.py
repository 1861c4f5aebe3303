"""Comparison: several versions asked the same test rows, those of the first; and what made them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any

import numpy as np
import polars as pl

from carrara.core.columns import require_column
from carrara.core.errors import CarraraError
from carrara.core.figures import short, words
from carrara.core.html import card, note, section, state, table
from carrara.core.svg import interval_bar
from carrara.data.rows import StoredRows, rows_at
from carrara.evaluation.disagreement import Disagreement, disagreement, flips_between
from carrara.evaluation.losses import LOSS_OF, row_losses
from carrara.evaluation.metrics import Metric, MetricValue, metric
from carrara.evaluation.paired import PairedDifference, paired_differences
from carrara.evaluation.paired_slices import largest_slices
from carrara.evaluation.segments import segments
from carrara.evaluation.slicing import Sliced, Slicing
from carrara.features.service import ResolvedFeatures
from carrara.models.registry import ModelVersion, opened, read_record
from carrara.pipelines.evaluate_step import metric_weights
from carrara.pipelines.reproduce import diff_versions
from carrara.pipelines.scoring import recorded_model, row_columns, scores_of, test_rows, version_scores
from carrara.storage.stores import Stores
from carrara.training.labels import encoded, queries
from carrara.training.model import Model
from carrara.training.trainers.imported import Imported

MOST_SLICES = 40
_MOST_CHANGES = 30
_SEGMENTED_ROWS = 50_000
LEAST_ROWS = 100


@dataclass(frozen=True)
class SliceDifference:
    """How the main metric differs on some of the rows; `verdict` is wins, loses, or even where chance may have it."""

    column: str
    value: str
    rows: int
    verdict: str
    difference: PairedDifference

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "difference": self.difference.as_dict()}


@dataclass(frozen=True)
class Beside:
    """A version beside the first: `configuration` are (field, the first's, its), `examples` rows that differ most,
    `flips` how often the answer of a binary model is another one (empty of other kinds)."""

    version: str
    metrics: Mapping[str, PairedDifference]
    answers: Disagreement
    flips: Mapping[str, MetricValue]
    examples: Sequence[Mapping[str, Any]]
    slices: Sequence[SliceDifference]
    configuration: Sequence[tuple[str, Any, Any]]
    warnings: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "metrics": {name: pair.as_dict() for name, pair in self.metrics.items()},
            "answers": self.answers.as_dict(),
            "flips": {name: value.as_dict() for name, value in self.flips.items()},
            "examples": list(self.examples),
            "slices": [one.as_dict() for one in self.slices],
            "configuration": [{"field": f, "one": a, "other": b} for f, a, b in self.configuration],
            "warnings": list(self.warnings),
        }

    def shown(self) -> Iterator[str]:
        """The parts of a notebook's card: differences with their intervals, slices that win or lose, what changed."""
        yield from (note(said) for said in self.warnings)
        metrics = [
            (
                words(name),
                one.one,
                one.other,
                one.difference,
                interval_bar(one.difference, *_ends(one), _around_zero(one), "" if one.differs else "quiet"),
                state("differs", "busy") if one.differs else state("may be chance"),
            )
            for name, one in self.metrics.items()
        ]
        yield table(["metric", "first", "other", "difference", "95 % interval", ""], metrics)
        looks = {"wins": "good", "loses": "bad"}
        apart = [one for one in self.slices if one.verdict != "even"]
        rows = [
            (f"{s.column} = {s.value}", s.rows, s.difference.difference, state(s.verdict, looks[s.verdict]))
            for s in apart
        ]
        yield section("Slices", table(["slice", "rows", "difference", ""], rows) if rows else "")
        changed = [(field, _text(one), _text(other)) for field, one, other in self.configuration[:_MOST_CHANGES]]
        yield section("What made them differ", table(["field", "first", "other"], changed) if changed else "")


@dataclass(frozen=True)
class Comparison:
    """Versions on the test rows of `first`; `main` is the metric that slices are compared by, and whether more of it is
    better; `segments` are rows by how well each version predicts them (see `evaluation.segments`), with the mean loss
    of each, in the order in which they were named."""

    first: str
    rows: int
    main: str
    greater_is_better: bool
    others: Sequence[Beside]
    segments: Sequence[Mapping[str, Any]] = ()
    loss: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "others": [other.as_dict() for other in self.others]}

    def _repr_html_(self) -> str:
        parts = [section(f"{one.version} beside it", *one.shown()) for one in self.others]
        return card(f"{self.first}, compared", *parts, lead=f"on its {self.rows:,} test rows")


@dataclass(frozen=True)
class _Asked:
    """A version with what it answered."""

    version: ModelVersion
    model: Model
    record: Mapping[str, Any]
    scores: Any


def compare(
    stores: Stores, first: ModelVersion, others: Sequence[ModelVersion], slices: Sequence[Sliced] = ()
) -> Comparison:
    """Ask `others` the test rows of `first`, each with its own features as they were known then; `slices` are looked at
    beside those of the definitions.

    CarraraError where they predict something else, or know other classes; ColumnMissing, DefinitionError for slices of
    what the rows do not have.
    """
    model, service = recorded_model(stores, first)
    record = read_record(stores, first)
    rows = test_rows(stores, first, model, record)
    asked_for = Slicing.of(slices)
    asked_for.check(rows.schema, f"the test rows of {first}")
    for name in asked_for.reads:
        require_column(rows.schema, name, f"the test rows of {first}")
    with opened(stores, first) as servable:
        asked = _Asked(first, model, record, scores_of(servable, rows))
    classes = tuple(record["parameters"].get("classes", ()))
    labels = encoded(model.label, rows, classes, f"the test part of '{first}'")
    main = _main_metric(model)
    all_asked = [asked, *(_ask(stores, other, asked, rows) for other in others)]
    slicing = reduce(or_, (one.model.slicing.within(rows.schema.names()) for one in all_asked), asked_for)
    return Comparison(
        str(first),
        rows.height,
        main.name,
        bool(main.greater_is_better),
        [_beside(stores, asked, other, rows, labels, service, slicing) for other in all_asked[1:]],
        _segments(all_asked, rows, labels, service, slicing),
        LOSS_OF.get(model.label.kind),
    )


def _segments(
    asked: Sequence[_Asked], rows: StoredRows, labels: Any, service: ResolvedFeatures, slicing: Slicing
) -> list[dict[str, Any]]:
    """Rows by how well each of the versions predicts them, with its mean loss; none where a kind has no loss."""
    kind = asked[0].model.label.kind
    if kind not in LOSS_OF:
        return []
    step = max(1, rows.height // _SEGMENTED_ROWS)
    losses = np.column_stack([row_losses(labels[::step], one.scores[::step], kind) for one in asked])
    few = rows.gather_every(step)
    columns = {name: few[name] for name in service.features if name in few.schema} | dict(slicing.cells(few))
    return [one.as_dict() for one in segments(losses, columns, seed=asked[0].model.seed)]


def _ask(stores: Stores, version: ModelVersion, first: _Asked, rows: StoredRows) -> _Asked:
    model, service = recorded_model(stores, version)
    record = read_record(stores, version)
    ours, theirs = (one.label.spec() for one in (first.model, model))
    # What was imported unmeasured names no dataset: that it predicts the same is for who compares it to know.
    for name in ("dataset", "column", "kind") if theirs["dataset"] else ("kind",):
        if ours[name] != theirs[name]:
            raise CarraraError(
                f"{version} predicts another thing than {first.version}: its label's {name} is"
                f" '{theirs[name]}', and not '{ours[name]}'",
                hint="Compare versions of models with one label.",
            )
    if first.record["parameters"].get("classes") != record["parameters"].get("classes"):
        raise CarraraError(f"{version} knows other classes than {first.version}")
    time = first.model.label.time
    scores = version_scores(stores, version, service, rows.select(row_columns(service, time)), time)
    return _Asked(version, model, record, scores)


def _beside(
    stores: Stores,
    one: _Asked,
    other: _Asked,
    rows: StoredRows,
    labels: Any,
    service: ResolvedFeatures,
    slicing: Slicing,
) -> Beside:
    kind, weights = one.model.label.kind, metric_weights(one.model, rows)
    options: dict[str, Any] = {"kind": kind, "threshold": one.model.threshold, "seed": one.model.seed}
    options["intervals"] = one.model.intervals
    groups = queries(one.model.label, rows, f"the test part of '{one.version}'")
    metrics = paired_differences(
        labels, one.scores, other.scores, one.model.measured, weights=weights, groups=groups, **options
    )
    thresholds = (one.model.threshold, other.model.threshold)
    answers = disagreement(labels, one.scores, other.scores, kind=kind, thresholds=thresholds)
    flips = {}
    if kind == "binary":
        drawn: dict[str, Any] = {"weights": weights, "seed": one.model.seed, "intervals": one.model.intervals}
        flips = flips_between(one.scores, other.scores, thresholds=thresholds, **drawn)
    shown = rows_at(rows, [*row_columns(service, one.model.label.time), *one.model.label.columns], answers.farthest)
    examples = [
        {**row, "one": _plain(one.scores[place]), "other": _plain(other.scores[place])}
        for place, row in zip(answers.farthest, shown.iter_rows(named=True), strict=True)
    ]
    slices = sorted(
        _slices(one, other, slicing, rows, labels, {"weights": weights, "groups": groups}, options),
        key=lambda found: (found.verdict == "even", -found.rows),
    )
    configuration = diff_versions(stores, one.version, other.version)
    return Beside(
        version=str(other.version),
        metrics=metrics,
        answers=answers,
        flips=flips,
        examples=examples,
        slices=slices,
        configuration=configuration,
        warnings=list(_warnings(other, rows, one)),
    )


def _slices(
    one: _Asked,
    other: _Asked,
    slicing: Slicing,
    rows: StoredRows,
    labels: Any,
    beside: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Iterator[SliceDifference]:
    main = _main_metric(one.model)
    sign = 1 if main.greater_is_better else -1
    largest = largest_slices(slicing.cells(rows), slicing.crosses, LEAST_ROWS)
    for column, value, these in islice(largest, MOST_SLICES):
        found = paired_differences(
            labels[these],
            one.scores[these],
            other.scores[these],
            [main],
            **{**options, **{name: None if v is None else v[these] for name, v in beside.items()}},
        )[main.name]
        verdict = "even" if not found.differs else "wins" if sign * found.difference > 0 else "loses"
        yield SliceDifference(column, value, len(these), verdict, found)


def _text(value: Any) -> str | None:
    return None if value is None else short(value, 120)


def _ends(pair: PairedDifference) -> tuple[float, float]:
    return (pair.difference, pair.difference) if np.isnan(pair.low) else (pair.low, pair.high)


def _around_zero(pair: PairedDifference) -> tuple[float, float]:
    """The ends of an axis with zero in its middle: which side a difference is on is seen at once."""
    most = max(abs(end) for end in (*_ends(pair), pair.difference)) or 1.0
    return -most, most


def _warnings(other: _Asked, rows: StoredRows, one: _Asked) -> Iterator[str]:
    """Rows that a version may have been trained on tell nothing of it."""
    if isinstance(other.model.trainer, Imported):
        yield f"{other.version} was trained elsewhere: whether it has seen these rows is not known"
        return
    part = other.record["datasets"]["parts"]["train"]
    times = rows[one.model.label.time].cast(pl.String)
    seen = int(((times >= part["from"]) & (times <= part["to"])).sum())
    if seen:
        yield (
            f"{other.version} was trained on rows from {part['from'][:19]} to {part['to'][:19]},"
            f" and {seen:,} of these {rows.height:,} test rows are of that time: it may have seen them"
        )


def _main_metric(model: Model) -> Metric:
    found = [metric(one, model.label.kind) for one in model.measured]
    return next((one for one in found if one.greater_is_better is not None), found[0])


def _plain(score: Any) -> Any:
    return np.asarray(score).tolist()
