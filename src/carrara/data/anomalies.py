"""An anomaly: where data are not what their schema says, in words, with the edit that would accept it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrara.data.schema import SEVERITIES, Severity


@dataclass(frozen=True)
class Edit:
    """A change of a schema's TOML: the keys that lead to a value, and the value; None removes it.

    `said` is what people read where the value is long.
    """

    path: tuple[str, ...]
    value: Any
    said: str = ""

    def __str__(self) -> str:
        *table, key = self.path
        if self.said:
            return f"[{'.'.join(table)}] {self.said}"
        if table == ["columns"] and isinstance(self.value, dict):
            return f"[columns.{key}] " + ", ".join(f"{name} = {_toml(item)}" for name, item in self.value.items())
        where = f"[{'.'.join(table)}] " if table else ""
        return f"{where}{key} = {_toml(self.value)}" if self.value is not None else f"remove {where}{key}"


@dataclass(frozen=True)
class Anomaly:
    """Where data differ from their schema.

    `share` is that of the rows which are guilty, from 0 to 1 (1 for what concerns the whole column), `examples`
    are some of their values, `places` some of their row numbers, and `edits` are what would make the schema
    accept it. `column` is empty for the table as a whole.
    """

    column: str
    kind: str
    severity: Severity
    share: float
    message: str
    edits: tuple[Edit, ...] = ()
    examples: tuple[Any, ...] = ()
    places: tuple[int, ...] = ()

    @property
    def fix(self) -> str:
        """The schema edit that would accept it, in words."""
        return "; ".join(str(edit) for edit in self.edits)

    def as_dict(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "kind": self.kind,
            "severity": self.severity,
            "share": self.share,
            "message": self.message,
            "fix": self.fix,
            "examples": list(self.examples),
            "rows": list(self.places),
        }


def worst_first(anomalies: list[Anomaly]) -> list[Anomaly]:
    """Those that stop first, then by kind as the kinds are listed, then by column."""
    order = {"stop": 0, "quarantine": 1, "warn": 2}
    kinds = list(SEVERITIES)
    return sorted(anomalies, key=lambda a: (order[a.severity], kinds.index(a.kind), a.column))


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else f'"{name}"'


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else f"{value}"
