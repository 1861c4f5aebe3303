"""Validation: statistics and rows of a table held against its schema, and against the data before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from carrara.core.clock import duration, from_microseconds, long_text, now
from carrara.data.anomalies import Anomaly, Edit, worst_first
from carrara.data.column_statistics import ColumnStatistics
from carrara.data.comparison import counted_by_value, distances, renamed, unit_factor
from carrara.data.row_checks import Found, RowFindings, plain
from carrara.data.schema import ColumnSchema, Schema, Severity, Thresholds
from carrara.data.schema_inference import infer_column
from carrara.data.statistics import Statistics, batches_of

_SHOWN = 5
_MOST_NEW_CATEGORIES = 50


@dataclass(frozen=True)
class Examined:
    """What one pass over a table found: its statistics, and the rows that its schema finds guilty."""

    statistics: Statistics
    findings: RowFindings


@dataclass(frozen=True)
class Baselines:
    """What a table is compared with: the version before (`drift`, and its `rows`), and training data (`skew`)."""

    previous: Statistics | None = None
    training: Statistics | None = None
    rows: int | None = None


NO_BASELINES = Baselines()


def examine(table: pl.LazyFrame | pl.DataFrame | Iterable[pl.DataFrame], schema: Schema) -> Examined:
    """The statistics of a table and its rows' findings, in one pass and bounded memory."""
    statistics, findings = Statistics(), RowFindings(schema)
    for batch in batches_of(table):
        statistics.add(batch)
        findings.add(batch)
    return Examined(statistics, findings)


def validate(
    found: Examined,
    schema: Schema,
    baselines: Baselines = NO_BASELINES,
    *,
    environment: str = "",
    at: datetime | None = None,
) -> list[Anomaly]:
    """Where a table is not what its schema says, worst first.

    `environment` leaves out the columns that the schema says are absent there. Without a version before, nothing
    drifts: the first version is accepted as it is. `at` is the time that stale data are measured from.

    >>> from carrara.data.schema_inference import infer_schema
    >>> before = pl.DataFrame({"hour": [1, 2, 3]})
    >>> schema = infer_schema(examine(before, Schema({})).statistics)
    >>> now = pl.DataFrame({"hour": ["1", "2", "3"]})
    >>> [str(anomaly.message) for anomaly in validate(examine(now, schema), schema)]
    ["column 'hour' is string, and int64 is expected"]
    """
    schema = schema.in_environment(environment) if environment else schema
    statistics = found.statistics
    moved = set()
    anomalies = list(_columns(statistics, schema, baselines.previous))
    for name, declared in schema.columns.items():
        column = statistics.columns.get(name)
        if column is None or column.type != declared.type:
            continue
        before = baselines.previous.columns.get(name) if baselines.previous else None
        if before is not None and before.type == column.type and (factor := unit_factor(before, column)):
            moved.add(name)
            anomalies.append(_unit_change(name, factor, before, column, schema))
        anomalies += _presence(name, column, declared, schema)
        anomalies += _times(name, column, declared, schema, at or now())
    anomalies += _rows(found, schema, moved)
    anomalies += _volume(statistics.rows, schema, baselines.rows)
    anomalies += _moved("drift", "in the version before", statistics, baselines.previous, schema, moved)
    anomalies += _moved("skew", "in training", statistics, baselines.training, schema, moved)
    return worst_first(anomalies)


def _columns(statistics: Statistics, schema: Schema, previous: Statistics | None) -> Iterator[Anomaly]:
    absent = {n: c.type for n, c in schema.columns.items() if c.required and n not in statistics.columns}
    unexpected = {n: c for n, c in statistics.columns.items() if n not in schema.columns}
    for name, other in list(renamed(absent, unexpected, previous)):
        del absent[name], unexpected[other]
        edits = (Edit(("columns", name), None), _accept(other, statistics.columns[other]))
        message = f"column '{name}' is missing, and '{other}' holds what it held: it was probably renamed"
        yield _anomaly(schema, name, "renamed column", 1.0, message, *edits)
    for name in absent:
        edit = Edit(("columns", name, "required"), False)
        yield _anomaly(schema, name, "missing column", 1.0, f"column '{name}' is missing", edit)
    for name, column in unexpected.items():
        edit = _accept(name, column)
        yield _anomaly(schema, name, "unexpected column", 1.0, f"column '{name}' is not in the schema", edit)
    for name, declared in schema.columns.items():
        found = statistics.columns.get(name)
        if found is not None and found.type != declared.type:
            message = f"column '{name}' is {found.type}, and {declared.type} is expected"
            examples = tuple(value for value, _ in found.frequent.top(_SHOWN)) if found.frequent else ()
            yield _anomaly(schema, name, "type change", 1.0, message, _accept(name, found), examples=examples)


def _accept(name: str, column: ColumnStatistics) -> Edit:
    schema = Schema({name: infer_column(name, column)})
    return Edit(("columns", name), schema.as_dict()["columns"][name])


def _presence(name: str, column: ColumnStatistics, declared: ColumnSchema, schema: Schema) -> Iterator[Anomaly]:
    if column.rows and column.present < declared.min_present:
        share = 1 - column.present
        most = 1 - declared.min_present
        message = f"{share:.1%} of '{name}' is null, and at most {most:.1%} is expected"
        edit = Edit(("columns", name, "min_present"), math.floor(column.present * 100) / 100)
        yield _anomaly(schema, name, "presence", share, message, edit)


def _times(
    name: str, column: ColumnStatistics, declared: ColumnSchema, schema: Schema, at: datetime
) -> Iterator[Anomaly]:
    if not column.is_time or column.numbers is None or not column.numbers.moments.weight:
        return
    gap = column.largest_gap()
    if declared.max_gap is not None and gap is not None:
        most = duration(declared.max_gap).total_seconds()
        if gap["seconds"] > most:
            said = f"'{name}' has no times from {gap['after']} to {gap['before']}, {long_text(gap['seconds'])}"
            edit = Edit(("columns", name, "max_gap"), f"{math.ceil(gap['seconds'])}s")
            message = f"{said}, and {declared.max_gap} is the longest gap that is expected"
            yield _anomaly(schema, name, "time gap", 1.0, message, edit)
    if declared.max_age is not None:
        newest = from_microseconds(round(column.numbers.sketch.greatest))
        age = (at - newest).total_seconds()
        if age > duration(declared.max_age).total_seconds():
            edit = Edit(("columns", name, "max_age"), f"{math.ceil(age / 3600)}h")
            message = (
                f"the newest '{name}' is {newest.isoformat()}, {long_text(age)} ago; {declared.max_age} is the most"
            )
            yield _anomaly(schema, name, "stale data", 1.0, message, edit)


def _rows(examined: Examined, schema: Schema, moved: set[str]) -> Iterator[Anomaly]:
    findings = examined.findings
    rows = max(findings.rows, 1)
    for (name, kind), found in findings.found.items():
        if not found.rows or kind == "presence" or (kind == "out of range" and name in moved):
            continue
        share = found.rows / rows
        declared = schema.columns.get(name)
        if kind == "rule":
            yield _rule(schema, name, found, share)
        elif declared is not None and not (kind == "new categories" and share <= declared.max_new_categories):
            yield _guilty(schema, name, kind, declared, examined.statistics.columns[name], found, share)
    for key, found in findings.repeats().items():
        if found.rows:
            name = ", ".join(key)
            path = ("columns", name, "unique") if len(key) == 1 and key != schema.key else ("key",)
            edit = Edit(path, False if len(path) > 1 else [])
            message = f"{found.rows:,} rows repeat the {name} of an earlier row"
            yield _anomaly(schema, name, "uniqueness", found.rows / rows, message, edit, places=found.places)


def _guilty(
    schema: Schema,
    name: str,
    kind: str,
    declared: ColumnSchema,
    column: ColumnStatistics,
    found: Found,
    share: float,
) -> Anomaly:
    shown = ", ".join(str(value) for value in dict.fromkeys(map(str, found.examples)))
    said, edits = {
        "out of range": lambda: (
            f"'{name}' is outside of {_range(declared)}: {shown}",
            _wider(name, declared, found.examples),
        ),
        "new categories": lambda: (
            f"'{name}' has new categories: {shown}",
            [_more_categories(name, declared, column, share)],
        ),
        "out of domain": lambda: (
            f"'{name}' does not match the pattern {declared.pattern}: {shown}",
            [Edit(("columns", name, "pattern"), None)],
        ),
        "not finite": lambda: (f"'{name}' is NaN or infinite", [Edit(("columns", name, "finite"), False)]),
        "valency": lambda: (
            f"'{name}' has lists shorter or longer than the {declared.min_values or 0} to "
            f"{'any number of' if declared.max_values is None else declared.max_values} values expected",
            [Edit(("columns", name, "min_values"), None), Edit(("columns", name, "max_values"), None)],
        ),
    }[kind]()
    message = f"{said} ({found.rows:,} rows, {share:.2%})"
    return _anomaly(schema, name, kind, share, message, *edits, examples=found.examples, places=found.places)


def _more_categories(name: str, declared: ColumnSchema, column: ColumnStatistics, share: float) -> Edit:
    known = set(declared.categories or ())
    frequent = column.frequent
    new = sorted(v for v in frequent.counts["value"] if v not in known) if frequent is not None else []
    if frequent is None or not frequent.exact or len(new) > _MOST_NEW_CATEGORIES:
        return Edit(("columns", name, "max_new_categories"), math.ceil(share * 1000) / 1000)
    said = f"categories += [{', '.join(repr(value) for value in new)}]"
    return Edit(("columns", name, "categories"), [*(declared.categories or ()), *new], said)


def _rule(schema: Schema, name: str, found: Found, share: float) -> Anomaly:
    rule = next(rule for rule in schema.rules if rule.name == name)
    message = f"{found.rows:,} rows ({share:.2%}) break the rule '{name}': {rule.sql}"
    severity: Severity = rule.severity or schema.severity_of("rule")  # type: ignore[assignment]
    return Anomaly(name, "rule", severity, share, message, (), (), tuple(found.places))


def _wider(name: str, declared: ColumnSchema, examples: list[Any]) -> list[Edit]:
    edits = []
    for key, bound, end in (("min", declared.min, min(examples)), ("max", declared.max, max(examples))):
        if bound is not None and (end < plain(bound) if key == "min" else end > plain(bound)):
            edits.append(Edit(("columns", name, key), end))
    return edits


def _volume(rows: int, schema: Schema, before: int | None) -> Iterator[Anomaly]:
    if rows < schema.min_rows:
        message = f"there are {rows:,} rows, and at least {schema.min_rows:,} are expected"
        yield _anomaly(schema, "", "volume", 1.0, message, Edit(("min_rows",), rows))
    if not before or schema.max_row_change is None:
        return
    change = rows / before - 1
    # A small table jumps by chance: three standard deviations of a count.
    if abs(change) > max(schema.max_row_change, 3 / math.sqrt(before)):
        word = "more" if change > 0 else "fewer"
        message = (
            f"there are {rows:,} rows, {abs(change):.0%} {word} than the {before:,} before, "
            f"and a change of {schema.max_row_change:.0%} is expected at most"
        )
        edit = Edit(("max_row_change",), math.ceil(abs(change) * 100) / 100)
        yield _anomaly(schema, "", "volume", min(abs(change), 1.0), message, edit)


def _unit_change(
    name: str, factor: float, before: ColumnStatistics, column: ColumnStatistics, schema: Schema
) -> Anomaly:
    assert before.numbers is not None
    assert column.numbers is not None
    medians = before.numbers.sketch.quantile(0.5), column.numbers.sketch.quantile(0.5)
    said = f"× {factor:,.4g}" if factor >= 1 else f"÷ {1 / factor:,.4g}"
    message = f"all values of '{name}' are {said} (median {medians[0]:.4g} before, {medians[1]:.4g} now): another unit?"
    edit = Edit(("columns", name, "severity"), {"unit change": "warn"})
    return _anomaly(schema, name, "unit change", 1.0, message, edit)


def _moved(
    kind: str, where: str, statistics: Statistics, other: Statistics | None, schema: Schema, moved: set[str]
) -> Iterator[Anomaly]:
    for name, declared in schema.columns.items():
        before = other.columns.get(name) if other is not None else None
        column = statistics.columns.get(name)
        if before is None or column is None or before.type != column.type or name in moved:
            continue
        own = declared.drift if kind == "drift" else declared.skew
        thresholds = own if own is not None else _by_type(schema.drift if kind == "drift" else schema.skew, before)
        over = [d for d in distances(before, column, thresholds) if d.value > max(thresholds[d.measure], d.noise)]
        if over:
            said = ", ".join(f"{d.measure} {d.value:.3f} over {thresholds[d.measure]:g}" for d in over)
            raised = {**thresholds, **{d.measure: math.ceil(d.value * 100) / 100 for d in over}}
            message = f"the distribution of '{name}' is not that {where}: {said}"
            share = min(max(d.value for d in over), 1.0)
            yield _anomaly(schema, name, kind, share, message, Edit(("columns", name, kind), raised))


def _by_type(thresholds: Thresholds, column: ColumnStatistics) -> dict[str, float]:
    return thresholds.categories if counted_by_value(column) else thresholds.numbers


def _anomaly(
    schema: Schema,
    column: str,
    kind: str,
    share: float,
    message: str,
    *edits: Edit,
    examples: Iterable[Any] = (),
    places: Iterable[int] = (),
) -> Anomaly:
    return Anomaly(
        column, kind, schema.severity_of(kind, column), share, message, edits, tuple(examples), tuple(places)
    )


def _range(declared: ColumnSchema) -> str:
    low = "any" if declared.min is None else f"{declared.min}"
    high = "any" if declared.max is None else f"{declared.max}"
    return f"{low} to {high}"
