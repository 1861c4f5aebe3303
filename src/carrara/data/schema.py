"""The schema of a dataset: what each column must hold, inferred from statistics and then curated by people."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from carrara.core.clock import duration
from carrara.core.errors import ConfigurationError, did_you_mean
from carrara.data.distances import MEASURES

Severity = Literal["warn", "quarantine", "stop"]
Bound = float | int | str

SEVERITIES: dict[str, Severity] = {
    "missing column": "stop",
    "type change": "stop",
    "renamed column": "stop",
    "presence": "warn",
    "uniqueness": "stop",
    "out of range": "warn",
    "out of domain": "warn",
    "new categories": "warn",
    "not finite": "warn",
    "valency": "warn",
    "rule": "warn",
    "unexpected column": "warn",
    "unit change": "stop",
    "time gap": "warn",
    "stale data": "warn",
    "volume": "warn",
    "drift": "warn",
    "skew": "warn",
}
"""Every kind of anomaly, with what it does where the schema says nothing else."""

ROW_KINDS = ("presence", "out of range", "out of domain", "new categories", "not finite", "valency", "rule")
"""The kinds that single rows are guilty of, which can be put in quarantine."""


class ColumnSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one column must hold; every key but `type` is optional.

    `min_present` is the least share of rows with a value; `min` and `max` are inclusive, times as RFC 3339 texts;
    `categories` are all values, and `max_new_categories` the share of rows that may have another; `pattern` is a
    regular expression of the whole text; `min_values` and `max_values` bound the length of a list; `max_gap` and
    `max_age` ("6h", "2d") bound a column of times; `not_in` names environments where the column is absent, such as
    "serving" for a label; `drift` and `skew` are thresholds by measure, {} for none; `severity` is by kind.
    """

    type: str
    description: str = ""
    semantic: str = ""
    unit: str = ""
    pii: bool = False
    required: bool = True
    not_in: tuple[str, ...] = ()
    min_present: float = 0.0
    unique: bool = False
    finite: bool = True
    min: Bound | None = None
    max: Bound | None = None
    categories: tuple[str, ...] | None = None
    max_new_categories: float = 0.0
    pattern: str | None = None
    min_values: int | None = None
    max_values: int | None = None
    max_gap: str | None = None
    max_age: str | None = None
    drift: dict[str, float] | None = None
    skew: dict[str, float] | None = None
    severity: dict[str, str] = {}


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition of one's own that every row must meet, in SQL: `arr_time > dep_time`."""

    name: str
    sql: str
    severity: str = ""


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From which distance on a distribution has moved, by measure, for each kind of column."""

    numbers: dict[str, float] = msgspec.field(default_factory=lambda: {"kolmogorov_smirnov": 0.1})
    categories: dict[str, float] = msgspec.field(default_factory=lambda: {"l_infinity": 0.1, "jensen_shannon": 0.1})


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a dataset must be; see `ColumnSchema` for its columns.

    `min_rows` and `max_row_change` (a share of the version before) bound its size; `drift` holds it against the
    version before, `skew` against training data; `key` are columns that are unique together.
    """

    columns: dict[str, ColumnSchema]
    dataset: str = ""
    min_rows: int = 0
    max_row_change: float | None = 0.4
    key: tuple[str, ...] = ()
    drift: Thresholds = Thresholds()
    skew: Thresholds = Thresholds()
    severity: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()

    def in_environment(self, environment: str) -> Schema:
        """The schema without the columns that are absent there.

        >>> label = Schema({"late": ColumnSchema("bool", not_in=("serving",)), "hour": ColumnSchema("int64")})
        >>> list(label.in_environment("serving").columns)
        ['hour']
        """
        kept = {name: column for name, column in self.columns.items() if environment not in column.not_in}
        return msgspec.structs.replace(self, columns=kept)

    def severity_of(self, kind: str, column: str | None = None) -> Severity:
        """What an anomaly does: as the column says, else the schema, else the default."""
        declared = self.columns.get(column or "")
        said = (declared.severity if declared else {}).get(kind) or self.severity.get(kind) or SEVERITIES[kind]
        found: Severity = said  # type: ignore[assignment]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain data without what is as by default; `schema_from_dict` reads it back."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def schema_from_toml(text: str, where: str) -> Schema:
    """Read a schema's TOML; ConfigurationError names the key at fault and the nearest right one."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is not valid TOML: {error}") from None
    return schema_from_dict(data, where)


def schema_from_dict(data: Mapping[str, Any], where: str) -> Schema:
    """A schema from plain data, checked to the last key."""
    try:
        schema = msgspec.convert(data, Schema)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where} is not a schema: {error}", hint=_nearest_key(str(error))) from None
    _check(schema, where)
    return schema


def _nearest_key(message: str) -> str:
    found = re.search(r"unknown field `([^`]+)`", message)
    if found is None:
        return ""
    keys = [*Schema.__struct_fields__, *ColumnSchema.__struct_fields__, *Rule.__struct_fields__]
    return did_you_mean(found[1], keys) or f"Known keys of a column: {', '.join(ColumnSchema.__struct_fields__)}."


def _check(schema: Schema, where: str) -> None:
    for name, column in schema.columns.items():
        for bound in (column.max_gap, column.max_age):
            if bound is not None:
                duration(bound)
        for kind, said in column.severity.items():
            _check_severity(kind, said, f"columns.{name}.severity", where)
        for thresholds in (column.drift, column.skew):
            _check_measures(thresholds or {}, f"columns.{name}", where)
        for end in (column.min, column.max):
            if isinstance(end, str):
                _check_time(end, f"columns.{name}", where)
    for kind, said in schema.severity.items():
        _check_severity(kind, said, "severity", where)
    for rule in schema.rules:
        if rule.severity:
            _check_severity("rule", rule.severity, f"rules.{rule.name}", where)
    for each in (schema.drift, schema.skew):
        _check_measures({**each.numbers, **each.categories}, "drift and skew", where)


def _check_severity(kind: str, said: str, key: str, where: str) -> None:
    if kind not in SEVERITIES:
        hint = did_you_mean(kind, SEVERITIES) or f"Known kinds: {', '.join(SEVERITIES)}."
        raise ConfigurationError(f"[{key}] of {where} names the unknown kind of anomaly '{kind}'", hint=hint)
    if said not in get_args(Severity):
        raise ConfigurationError(f"[{key}] of {where} says '{said}'", hint="It is one of: warn, quarantine, stop.")
    if said == "quarantine" and kind not in ROW_KINDS:
        raise ConfigurationError(
            f"[{key}] of {where} puts '{kind}' in quarantine, and no single rows are guilty of it",
            hint=f"Quarantine is for: {', '.join(ROW_KINDS)}. Say warn or stop.",
        )


def _check_measures(thresholds: dict[str, float], key: str, where: str) -> None:
    for measure in thresholds:
        if measure not in MEASURES:
            hint = did_you_mean(measure, MEASURES) or f"Known measures: {', '.join(MEASURES)}."
            raise ConfigurationError(f"[{key}] of {where} names the unknown measure '{measure}'", hint=hint)


def _check_time(text: str, key: str, where: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"[{key}] of {where} bounds by '{text}', which is no RFC 3339 time") from None
