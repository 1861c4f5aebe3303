"""The values of a model version that one can search by: metrics and parameters, and what people say of it.

`metrics.*`, `parameters.*`, `datasets.*`, `format` and `trained_by` are written with the version and never change;
`owner`, `description` and `tags.*` are people's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from carrara.metadata.aliases import refuse_deleted
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import model_values

Value = str | float | int | bool | None

SAID = ("owner", "description")
TAG = "tags."


def add_values(connection: Connection, model: str, version: int, values: Mapping[str, Value]) -> None:
    """Write the values of a version that is being made; longer texts are cut: they are there to be found by."""
    rows = [{"model": model, "version": version, "field": field[:300], **_columns(v)} for field, v in values.items()]
    if rows:
        connection.execute(insert(model_values), rows)


def say_of_version(metadata: Metadata, model: str, version: int, values: Mapping[str, str | None]) -> None:
    """Set what people say of a version (`owner`, `description`, `tags.*`); None takes it away."""
    this = (model_values.c.model == model) & (model_values.c.version == version)
    with metadata.begin() as connection:
        refuse_deleted(connection, model, version)
        connection.execute(model_values.delete().where(this & model_values.c.field.in_(list(values))))
        add_values(connection, model, version, {field: value for field, value in values.items() if value is not None})
        record(connection, "describe", f"model:{model}@{version}", **values)


def said_of(metadata: Metadata, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, str]]:
    """What people say of each of these versions, by (model, version)."""
    of_people = or_(model_values.c.field.in_(SAID), model_values.c.field.startswith(TAG, autoescape=True))
    found: dict[tuple[str, int], dict[str, str]] = {}
    with metadata.read() as connection:
        for model in dict.fromkeys(model for model, _ in versions):
            numbers = [version for name, version in versions if name == model]
            # A list of numbers has an end that databases set: a page is never so long, all versions may be.
            these = model_values.c.version.between(min(numbers), max(numbers))
            rows = connection.execute(select(model_values).where(model_values.c.model == model, these, of_people))
            for row in rows:
                found.setdefault((model, row.version), {})[row.field] = row.text
    return found


def flattened(prefix: str, values: Mapping[str, Any]) -> dict[str, Value]:
    """Nested plain values under dotted names; lists are left out.

    >>> flattened("parameters", {"trees": 40, "inner": {"depth": 3}, "several": [1, 2]})
    {'parameters.trees': 40, 'parameters.inner.depth': 3}
    """
    found: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flattened(f"{prefix}.{name}", value)
        elif value is None or isinstance(value, str | int | float | bool):
            found[f"{prefix}.{name}"] = value
    return found


def _columns(value: Value) -> dict[str, Any]:
    if isinstance(value, int | float):
        return {"number": float(value), "text": None}
    return {"number": None, "text": value}
