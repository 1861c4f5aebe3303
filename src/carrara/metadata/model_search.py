"""Searching model versions: a condition in words as one query, with an order and a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, and_, cast, exists, func, not_, or_, select, tuple_

from carrara.core.clock import microseconds, parse_time
from carrara.core.errors import CarraraError, did_you_mean
from carrara.metadata.store import Metadata
from carrara.metadata.tables import aliases, decisions, deployments, model_values, versions
from carrara.metadata.where import Both, Comparison, Condition, Either, Not, parse_field, parse_where

_OWN = ("model", "version", "registered_at", "alias", "endpoint", "decision", "blessed")
_VALUES = ("owner", "description", "format", "trained_by", "kind", "gates_passed")
_AT_ONCE = 300
_GROUPS = ("metrics", "parameters", "tags", "datasets")


@dataclass(frozen=True)
class Page:
    """Which versions, in which order, and how many of them.

    `sort` is a field, `-field` for the largest first; by default the newest come first.
    """

    where: str | None = None
    sort: str | None = None
    limit: int | None = None
    offset: int = 0


FoundVersion = tuple[str, int, str, str, int, str]
"""A version as it is listed, in thousands: its name, number, digest, run, time in microseconds, and its summary as JSON
text, which is not read before it is asked for."""


def search_models(metadata: Metadata, model: str | None, page: Page) -> list[FoundVersion]:
    """The versions of a page; CarraraError for a condition that cannot be read or a field that there is not."""
    keys = _keys(model, page)
    with metadata.read() as connection:
        if page.limit is None and not page.offset:
            # All at once: a fetch for each of thousands of rows takes as long as reading them.
            return list(map(tuple, connection.execute(keys.with_only_columns(*_ROW)).all()))
        # The rows of one page only: a record is longer than all that its row is found by.
        wanted = [(row.name, row.version) for row in connection.execute(keys.limit(page.limit).offset(page.offset))]
        found = {}
        for start in range(0, len(wanted), _AT_ONCE):
            these = tuple_(versions.c.name, versions.c.version).in_(wanted[start : start + _AT_ONCE])
            for row in connection.execute(select(*_ROW).where(versions.c.kind == "model", these)):
                found[row.name, row.version] = tuple(row)
    return [found[key] for key in wanted]


def count_models(metadata: Metadata, model: str | None, where: str | None) -> int:
    """How many versions meet a condition."""
    keys = _keys(model, Page(where)).order_by(None).subquery()
    with metadata.read() as connection:
        return connection.execute(select(func.count()).select_from(keys)).scalar_one()


_ROW = (
    versions.c.name,
    versions.c.version,
    versions.c.digest,
    versions.c.run_id,
    versions.c.created_at,
    cast(versions.c.record, Text).label("record"),
)


def _keys(model: str | None, page: Page) -> Select[Any]:
    """The names and numbers of the versions that meet a page's condition, in its order."""
    there = [versions.c.kind == "model", versions.c.deleted_at.is_(None)]
    there += [versions.c.name == model] if model is not None else []
    there += [_sql(parse_where(page.where))] if page.where else []
    query = select(versions.c.name, versions.c.version).where(*there)
    if page.sort == "registered_at":  # as the index has them: nothing is sorted
        return query.order_by(versions.c.created_at, versions.c.name, versions.c.version)
    newest_first = (versions.c.created_at.desc(), versions.c.name.desc(), versions.c.version.desc())
    return _sorted(query, page.sort if page.sort != "-registered_at" else None).order_by(*newest_first)


def _sorted(query: Select[Any], sort: str | None) -> Select[Any]:
    """A query in the order of a field; a version that has no such value comes last, whichever way."""
    if not sort:
        return query
    field = parse_field(sort.removeprefix("-"))
    column = _own_column(field)
    columns: list[ColumnElement[Any]] = [column] if column is not None else []
    if column is None:
        _check_value_field(field)
        query = query.select_from(versions.outerjoin(model_values, _of_version(field)))
        columns = [model_values.c.number, model_values.c.text]
    return query.order_by(*((c.desc() if sort.startswith("-") else c.asc()).nulls_last() for c in columns))


def _sql(condition: Condition) -> ColumnElement[bool]:
    if isinstance(condition, Not):
        return not_(_sql(condition.condition))
    if isinstance(condition, Both):
        return and_(*map(_sql, condition.conditions))
    if isinstance(condition, Either):
        return or_(*map(_sql, condition.conditions))
    return _compared(condition)


def _compared(comparison: Comparison) -> ColumnElement[bool]:
    field, column = comparison.field, _own_column(comparison.field)
    if column is not None:
        own = _microseconds(comparison) if field == "registered_at" else comparison.value
        _check_type(comparison, own, text=field == "model")
        return _operator(comparison.operator)(column, own)
    if field in ("alias", "endpoint", "decision"):
        return _compared_elsewhere(comparison)
    if field == "blessed":
        return _blessed_as(comparison)
    _check_value_field(field)
    several = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    texts = bool(several) and isinstance(several[0], str)
    _check_type(comparison, comparison.value, text=texts)
    value: Any = (
        comparison.value if texts else tuple(map(float, several)) if several is comparison.value else float(several[0])
    )
    own_values = model_values.alias()
    stored = own_values.c.text if texts else own_values.c.number
    negated = {"!=": "=", "not in": "in"}.get(comparison.operator)
    met = exists().where(_of_version(field, own_values), _operator(negated or comparison.operator)(stored, value))
    return not_(met) if negated else met


def _compared_elsewhere(comparison: Comparison) -> ColumnElement[bool]:
    """Where a version stands now: what points at it, what serves it, what was decided on it."""
    _check_type(comparison, comparison.value, text=True)
    negated = {"!=": "=", "not in": "in"}.get(comparison.operator)
    compare = _operator(negated or comparison.operator)
    if comparison.field == "alias":
        later = aliases.alias()
        moved = exists().where(
            later.c.model == aliases.c.model, later.c.alias == aliases.c.alias, later.c.id > aliases.c.id
        )
        this = and_(aliases.c.model == versions.c.name, aliases.c.version == versions.c.version, not_(moved))
        met = exists().where(this, compare(aliases.c.alias, comparison.value))
    elif comparison.field == "endpoint":
        this = and_(deployments.c.model == versions.c.name, deployments.c.version == versions.c.version)
        met = exists().where(this, deployments.c.ended_at.is_(None), compare(deployments.c.endpoint, comparison.value))
    else:
        this = and_(decisions.c.model == versions.c.name, decisions.c.version == versions.c.version)
        met = exists().where(this, compare(decisions.c.decision, comparison.value))
    return not_(met) if negated else met


def _blessed_as(comparison: Comparison) -> ColumnElement[bool]:
    """Whether a version may be deployed: `models.approval.blocked_by`, as a query."""
    if comparison.operator not in ("=", "!=") or not isinstance(comparison.value, bool):
        raise CarraraError("blessed is true or false", hint="Write blessed = true.")
    own_values = model_values.alias()
    passed = exists().where(_of_version("gates_passed", own_values), own_values.c.number == 1.0)
    blessed = or_(_last_decision("overridden"), and_(passed, not_(_last_decision("rejected"))))
    return blessed if comparison.value is (comparison.operator == "=") else not_(blessed)


def _last_decision(word: str) -> ColumnElement[bool]:
    later = decisions.alias()
    superseded = exists().where(
        later.c.model == decisions.c.model, later.c.version == decisions.c.version, later.c.id > decisions.c.id
    )
    this = and_(decisions.c.model == versions.c.name, decisions.c.version == versions.c.version)
    return exists().where(this, decisions.c.decision == word, not_(superseded))


def _of_version(field: str, values: FromClause = model_values) -> ColumnElement[bool]:
    return and_(values.c.model == versions.c.name, values.c.version == versions.c.version, values.c.field == field)


def _own_column(field: str) -> ColumnElement[Any] | None:
    own = {"model": versions.c.name, "version": versions.c.version, "registered_at": versions.c.created_at}
    return own.get(field)


def _check_value_field(field: str) -> None:
    group = field.partition(".")[0]
    if field in _VALUES or (group in _GROUPS and group != field):
        return
    known = [*_OWN, *_VALUES, *(f"{group}.NAME" for group in _GROUPS)]
    raise CarraraError(
        f"model versions have no field '{field}' to search by",
        hint=did_you_mean(field, known) or f"There are {', '.join(known)}.",
    )


def _check_type(comparison: Comparison, value: Any, *, text: bool) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, str) != text:
            wanted = "a text" if text else "a number"
            raise CarraraError(f"{comparison.field} is {wanted}, and was compared with {one!r}")


def _microseconds(comparison: Comparison) -> Any:
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    if not all(isinstance(value, str) for value in values):
        raise CarraraError(
            f"registered_at is a time, and was compared with {comparison.value!r}", hint="Write '2026-01-31'."
        )
    times: list[datetime] = [parse_time(value) for value in values]
    found = tuple(map(microseconds, times))
    return found if isinstance(comparison.value, tuple) else found[0]


def _operator(operator: str) -> Callable[[ColumnElement[Any], Any], ColumnElement[bool]]:
    return {
        "=": lambda column, value: column == value,
        "!=": lambda column, value: column != value,
        "<": lambda column, value: column < value,
        "<=": lambda column, value: column <= value,
        ">": lambda column, value: column > value,
        ">=": lambda column, value: column >= value,
        "in": lambda column, value: column.in_(value if isinstance(value, tuple) else (value,)),
        "not in": lambda column, value: column.not_in(value if isinstance(value, tuple) else (value,)),
        # Without regard to case, as SQLite does; PostgreSQL has a word of its own for that.
        "like": lambda column, value: column.ilike(value),
    }[operator]
