"""The schema of a dataset: inferred from its first version, and what later versions are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import did_you_mean

_MAX_CATEGORIES = 50
_TOLERATED_EXTRA_NULLS = 0.05


@dataclass(frozen=True)
class Anomaly:
    """One way in which a table is not what its schema says.

    `severity` is warn or stop; `share` is the share of rows at fault; `fix` the schema edit that accepts it.
    """

    column: str
    kind: str
    severity: str
    share: float
    message: str
    fix: str


def infer_schema(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Type, the largest tolerated share of nulls, and the categories of strings that have few."""
    schema = {}
    for name, found in statistics.items():
        nulls = found["nulls"] / found["rows"] if found["rows"] else 1.0
        column: dict[str, Any] = {"type": found["type"], "max_null_share": 0.0}
        if nulls > 0:
            column["max_null_share"] = round(min(1.0, nulls + _TOLERATED_EXTRA_NULLS), 4)
        if (
            found["type"] == "string"
            and len(found["top"]) < _MAX_CATEGORIES
            and found["distinct"] <= len(found["top"]) + 1
        ):
            column["categories"] = sorted(entry["value"] for entry in found["top"])
        schema[name] = column
    return schema


def validate(statistics: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Mapping[str, Any]]) -> list[Anomaly]:
    """Every anomaly of a table's statistics against a schema; none for a table that fits."""
    anomalies = []
    for name, declared in schema.items():
        if name in statistics:
            anomalies += _column_anomalies(name, statistics[name], declared)
        else:
            near = did_you_mean(name, [c for c in statistics if c not in schema])
            anomalies.append(
                Anomaly(
                    name,
                    "missing column",
                    "stop",
                    1.0,
                    f"column '{name}' is missing. {near}".strip(),
                    f"remove [{name}]",
                )
            )
    for name in statistics:
        if name not in schema:
            kind = statistics[name]["type"]
            anomalies.append(
                Anomaly(
                    name,
                    "unexpected column",
                    "warn",
                    1.0,
                    f"column '{name}' is new",
                    f'[{name}] type = "{kind}"',
                )
            )
    return anomalies


def _column_anomalies(name: str, found: Mapping[str, Any], declared: Mapping[str, Any]) -> list[Anomaly]:
    if found["type"] != declared["type"]:
        message = f"column '{name}' is {found['type']}, and {declared['type']} is expected"
        return [Anomaly(name, "type change", "stop", 1.0, message, f'type = "{found["type"]}"')]
    anomalies = []
    share = found["nulls"] / found["rows"] if found["rows"] else 1.0
    if share > declared["max_null_share"]:
        message = f"{share:.1%} of '{name}' is null, and at most {declared['max_null_share']:.1%} is expected"
        anomalies.append(Anomaly(name, "presence", "warn", share, message, f"max_null_share = {share:.4f}"))
    if "categories" in declared:
        new = {e["value"]: e["rows"] for e in found["top"] if e["value"] not in declared["categories"]}
        if new:
            message = f"'{name}' has the new categories {', '.join(sorted(new))}"
            share = sum(new.values()) / found["rows"]
            anomalies.append(Anomaly(name, "new categories", "warn", share, message, f"categories += {sorted(new)}"))
    return anomalies
