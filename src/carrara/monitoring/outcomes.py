"""Outcomes: what then happened, from files, tables and calls, and from the dataset that holds a model's label.

An outcome is matched by the prediction's id, or by entity keys and time. It may come late, twice, corrected, for a
prediction that is not (yet) known, or before its prediction is logged: the join is made when it is read, and the newest
that is known counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.clock import now as moment
from carrara.core.columns import UTC_TIME, utc_times
from carrara.core.errors import ColumnMissing, DataError, NotFoundError
from carrara.data.versions import read_dataset
from carrara.evaluation.metrics import Kind
from carrara.evaluation.slicing import Slicing
from carrara.features.model_features import features_of_model
from carrara.models.registry import ModelVersion, recorded_definitions
from carrara.models.signature import QUERY_ID
from carrara.monitoring.prediction_log import log_table, once, scan_log
from carrara.storage.stores import Stores

LABEL = "__outcome"
KNOWN_AT = "__known_at"
_OUTCOMES: dict[str, Any] = {
    "binary": pl.Int8(),
    "multiclass": pl.String(),
    "multilabel": pl.String(),
    "regression": pl.Float64(),
}
_BETWEEN = "\x1f"
"""What stands between several labels where they are one value, so that outcomes can be compared: the unit separator."""

_TRUE_OR_FALSE = {"true": 1, "false": 0, "1": 1, "0": 0, "yes": 1, "no": 0, "1.0": 1, "0.0": 0}


@dataclass(frozen=True)
class Outcomes:
    """What became of outcomes that came in: `new` were kept, `corrected` of them for what had another one before,
    `repeated` were known; of the new ones `unknown` have no prediction yet, and `early` were known before
    theirs was made."""

    rows: int
    new: int
    corrected: int
    repeated: int
    unknown: int
    early: int

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class OutcomeRule:
    """How a version's outcomes are found: in which columns of its label's dataset, of what kind they are, the keys that
    its predictions have, and what to slice by."""

    model: str
    dataset: str
    column: str | tuple[str, ...]
    time: str
    known_at: str | None
    kind: Kind
    keys: tuple[str, ...]
    slicing: Slicing
    group: str | None = None
    weight: str | None = None
    """The column that says how much each row counts in the metrics."""

    @classmethod
    def of(cls, stores: Stores, version: ModelVersion) -> OutcomeRule:
        definitions = recorded_definitions(stores, version)
        # Serving asks for live metrics, and never imports training: the model is known by what it says.
        model = definitions.of_kind("model")[version.model]
        service = features_of_model(definitions, model, where=f"model '{version}'")
        label = model.label
        where = {name: getattr(label, name) for name in ("dataset", "column", "time", "known_at", "kind")}
        group, weight = getattr(label, "group", None), getattr(model, "metric_weight", None)
        return cls(version.model, **where, keys=tuple(service.keys), slicing=model.slicing, group=group, weight=weight)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns that are brought along with an outcome: those to slice by, the query of a ranking, the weight.

        When a row was predicted is not one of them: the log knows it.
        """
        read = (name for name in self.slicing.reads if name != self.time)
        return tuple(dict.fromkeys((*read, *self.needed)))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns without which a row cannot be measured."""
        return tuple(filter(None, [self.group, self.weight]))

    @property
    def dtype(self) -> Any:
        return _OUTCOMES.get(self.kind, pl.Float64())


def outcomes_table(model: str) -> str:
    """The lake's table of outcomes that were handed in."""
    return f"outcomes/{model}"


def add_outcomes(stores: Stores, version: ModelVersion, rows: pl.DataFrame, *, where: str) -> Outcomes:
    """Keep outcomes: `prediction_id`, or the entity keys and `event_time` (or the label's time column); `outcome` (or
    the label's column); optionally `known_at`, by default now. Raises DataError, and nothing is kept, for rows that are
    none."""
    rule = OutcomeRule.of(stores, version)
    given = _typed(rule, rows, stores, where)
    match = [name for name in ("prediction_id", *rule.keys, "event_time") if name in given.columns]
    table = outcomes_table(version.model)
    given = given.unique([*match, LABEL], keep="last", maintain_order=True)
    corrected = 0
    new = given
    if stores.lake.exists(table):
        known = stores.lake.scan(table)
        missing = [name for name in match if name not in known.collect_schema()]
        newest = known.with_columns(pl.lit(None, given.schema[name]).alias(name) for name in missing)
        newest = newest.sort(KNOWN_AT, "received_at").unique(match, keep="last", maintain_order=True)
        before = given.join(
            newest.select(*match, pl.col(LABEL).alias("before")).collect(),
            on=match,
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )["before"]
        corrected = int((before.is_not_null() & (before != given[LABEL])).sum())
        new = given.filter(before.is_null() | (before != given[LABEL]))
    unknown, early = _against_log(stores, rule, new, match)
    if new.height:
        stores.lake.append(table, new)
    return Outcomes(rows.height, new.height, corrected, rows.height - new.height, unknown, early)


def join_outcomes(stores: Stores, rule: OutcomeRule, log: pl.DataFrame, *, slices: Sequence[str] = ()) -> pl.DataFrame:
    """`log` with LABEL, and KNOWN_AT: 1, 0, a class or a number, or null while it is not known by the stores' clock.

    `slices` are columns of the label's dataset to bring along where the log has none of that name.
    """
    found = log
    parts = []
    for place, (on, outcomes) in enumerate(_sources(stores, rule, log.schema, slices)):
        names = {LABEL: f"{LABEL}{place}", KNOWN_AT: f"{KNOWN_AT}{place}"}
        found = found.join(outcomes.rename(names), on=on, how="left", maintain_order="left")
        parts.append(place)
    columns = {
        name: pl.coalesce(*(f"{name}{place}" for place in parts)) if parts else pl.lit(None)
        for name in (LABEL, KNOWN_AT)
    }
    joined = found.with_columns(
        columns[LABEL].cast(rule.dtype).alias(LABEL), columns[KNOWN_AT].cast(UTC_TIME).alias(KNOWN_AT)
    ).drop(f"{name}{place}" for place in parts for name in (LABEL, KNOWN_AT))
    return joined if rule.group is None else _with_queries(joined, rule.group)


def _with_queries(rows: pl.DataFrame, group: str) -> pl.DataFrame:
    """Rows with their query in the column that the label names: as its dataset knows it, else as it was logged."""
    known = [pl.col(name).cast(pl.String) for name in (group, QUERY_ID) if name in rows.columns]
    return rows.with_columns(pl.coalesce(known).alias(group)) if known else rows


def _sources(
    stores: Stores, rule: OutcomeRule, log: pl.Schema, slices: Sequence[str]
) -> list[tuple[list[str], pl.DataFrame]]:
    """What to join by, and outcomes once each, newest; what was handed in comes before the dataset's."""
    found, now = [], stores.clock()
    keys = [name for name in rule.keys if name in log]
    if stores.lake.exists(outcomes_table(rule.model)):
        handed = stores.lake.scan(outcomes_table(rule.model)).filter(pl.col(KNOWN_AT) <= now)
        handed = handed.sort(KNOWN_AT, "received_at")
        columns = handed.collect_schema().names()
        # Without keys a time alone tells of no prediction: many are of one time.
        for on in (["prediction_id"], *([[*keys, "event_time"]] if keys else [])):
            if set(on) <= set(columns):
                one_each = handed.drop_nulls(on).unique(on, keep="last", maintain_order=True)
                found.append((on, one_each.select(*on, LABEL, KNOWN_AT).collect()))
    found += _from_dataset(
        stores, rule, {name: log[name] for name in keys}, [name for name in slices if name not in log]
    )
    return found


def _from_dataset(
    stores: Stores, rule: OutcomeRule, keys: Mapping[str, pl.DataType], slices: list[str]
) -> list[tuple[list[str], pl.DataFrame]]:
    try:
        rows = read_dataset(stores, rule.dataset)
    except NotFoundError:
        return []
    there = rows.collect_schema().names()
    if not keys or not {*keys, rule.time, *rule.columns} <= set(there):
        return []
    known = rule.known_at or rule.time
    rows = rows.filter(pl.col(known) <= stores.clock()).drop_nulls(rule.columns).sort(known)
    label = as_outcomes(rule.column, rows.collect_schema())
    wanted = rows.select(
        *(pl.col(name).cast(dtype) for name, dtype in keys.items()),
        pl.col(rule.time).cast(UTC_TIME).alias("event_time"),
        label.cast(rule.dtype).alias(LABEL),
        pl.col(known).cast(UTC_TIME).alias(KNOWN_AT),
        *(name for name in slices if name in there and name not in keys),
    )
    on = [*keys, "event_time"]
    return [(on, wanted.unique(on, keep="last", maintain_order=True).collect())]


def encode_outcomes(values: pl.Series, kind: Kind, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Outcomes as metrics take them: numbers, places among the classes, or, of several labels, 0 and 1 of shape (rows,
    classes). What is none is NaN.

    >>> encode_outcomes(pl.Series(["a\x1fb", ""]), "multilabel", ["a", "b"]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if kind == "multilabel":
        found = [set(text.split(_BETWEEN)) for text in values.fill_null("").to_list()]
        told = np.array([[float(name in labels) for name in classes] for labels in found], np.float64)
        told = told.reshape(-1, len(classes))
        told[values.is_null().to_numpy()] = np.nan
        return told
    if kind == "multiclass":
        places = {name: float(place) for place, name in enumerate(classes)}
        values = values.cast(pl.String).replace_strict(places, default=None, return_dtype=pl.Float64)
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def are_outcomes(labels: npt.NDArray[np.float64]) -> pl.Series:
    """Which rows of encoded outcomes are some."""
    return pl.Series(np.isfinite(labels) if labels.ndim == 1 else np.isfinite(labels).all(axis=1))


def as_outcomes(column: str | tuple[str, ...], schema: pl.Schema) -> pl.Expr:
    """The label's column; several labels as one text: of a list, in the alphabet's order, or of columns of booleans, by
    their names."""
    if isinstance(column, str):
        if schema[column] != pl.List(pl.String):
            return pl.col(column)
        return pl.col(column).list.sort().list.join(_BETWEEN)
    # A when without otherwise is null, which concat_str leaves out.
    return pl.concat_str(
        *(pl.when(pl.col(name)).then(pl.lit(name)) for name in sorted(column)), separator=_BETWEEN, ignore_nulls=True
    )


def _typed(rule: OutcomeRule, rows: pl.DataFrame, stores: Stores, where: str) -> pl.DataFrame:
    if rule.kind == "multilabel":
        rows = _with_one_outcome(rule, rows)
    renames = {rule.columns[0]: "outcome", rule.time: "event_time", rule.known_at or "known_at": "known_at"}
    rows = rows.rename({old: new for old, new in renames.items() if old in rows.columns and new not in rows.columns})
    if "outcome" not in rows.columns:
        raise ColumnMissing("outcome", where, rows.columns)
    by_keys = bool(rule.keys) and {*rule.keys, "event_time"} <= set(rows.columns)
    if "prediction_id" not in rows.columns and not by_keys:
        or_keys = f", or {', '.join(rule.keys)} and event_time" if rule.keys else ""
        raise DataError(
            f"{where} does not say which predictions its outcomes belong to",
            hint=f"Give prediction_id{or_keys}.",
        )
    columns = [_outcome(rows["outcome"], rule, where).alias(LABEL)]
    if "prediction_id" in rows.columns:
        columns.append(rows["prediction_id"].cast(pl.String))
    if by_keys:
        columns += [*(rows[name].cast(pl.String) for name in rule.keys), utc_times(rows["event_time"], where)]
    now = stores.clock()
    known = (
        utc_times(rows["known_at"], where) if "known_at" in rows.columns else pl.repeat(now, rows.height, eager=True)
    )
    columns.append(known.cast(UTC_TIME).fill_null(now).alias(KNOWN_AT))
    # By the machine's clock: of two that are known from the same moment, the one that came last is the correction.
    columns.append(pl.repeat(moment(), rows.height, eager=True).cast(UTC_TIME).alias("received_at"))
    return pl.DataFrame(columns).drop_nulls(LABEL)


def _with_one_outcome(rule: OutcomeRule, rows: pl.DataFrame) -> pl.DataFrame:
    """Lists of labels, texts such as "a;b", or columns of booleans, as one text."""
    there = set(rows.columns)
    if "outcome" not in there and not isinstance(rule.column, str) and set(rule.column) <= there:
        return rows.with_columns(outcome=as_outcomes(rule.column, rows.schema)).drop(rule.column)
    name = "outcome" if "outcome" in there else rule.columns[0]
    if name not in there:
        return rows
    if rows.schema[name] == pl.String:
        rows = rows.with_columns(
            pl.when(pl.col(name) == "").then(pl.lit([], pl.List(pl.String))).otherwise(pl.col(name).str.split(";"))
        )
    return rows.with_columns(as_outcomes(name, rows.schema).alias(name))


def _outcome(values: pl.Series, rule: OutcomeRule, where: str) -> pl.Series:
    """Outcomes in the label's type; DataError names the first that is none."""
    if rule.kind == "binary" and values.dtype == pl.String:
        typed = values.str.to_lowercase().replace_strict(_TRUE_OR_FALSE, default=None, return_dtype=pl.Int8)
    else:
        typed = values.cast(rule.dtype, strict=False)
    wrong = typed.is_null() & values.is_not_null()
    if rule.kind == "binary":
        wrong = wrong | ~typed.is_in([0, 1]).fill_null(True)
    if wrong.any():
        place = wrong.to_list().index(True)
        raise DataError(
            f"row {place} of {where} has the outcome {values[place]!r}, which is no {rule.kind} label",
            hint="Nothing was kept." if rule.kind != "binary" else "Give true or false. Nothing was kept.",
        )
    return typed


def _against_log(stores: Stores, rule: OutcomeRule, new: pl.DataFrame, match: list[str]) -> tuple[int, int]:
    """How many of new outcomes have no prediction yet, and how many were known before theirs."""
    if not new.height or not stores.lake.exists(log_table(rule.model)):
        return new.height, 0
    log = once(scan_log(stores, rule.model))
    there = log.collect_schema().names()
    on = ["prediction_id"] if "prediction_id" in match else [name for name in match if name in there]
    times = log.select(*on, pl.col("event_time").alias("predicted_at")).unique(on).collect()
    predicted = new.join(times, on=on, how="left", maintain_order="left")
    early = (predicted["predicted_at"] > predicted[KNOWN_AT]).fill_null(False)
    return predicted["predicted_at"].null_count(), int(early.sum())
