"""The features room as a user has it: tables in files, definitions in a file, stores opened from `carrara.toml`.

The judges beside it are plain loops over plain rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lmdb
import polars as pl

from carrara.core.clock import duration, microseconds
from carrara.core.columns import UTC_TIME
from carrara.core.config import read_configuration
from carrara.core.definitions import Definitions, load_definitions
from carrara.data.ingest import in_order, ingest
from carrara.features.aggregates import AggregateView
from carrara.features.entities import Entity
from carrara.features.materialise import Materialised, materialise
from carrara.features.offline import FeatureTable, compute_feature_table
from carrara.features.retrieval import Retriever
from carrara.features.service import ResolvedFeatures, StoredView, resolve_features
from carrara.features.training_set import join_features
from carrara.storage.stores import Stores, open_stores

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TYPES = {"event": UTC_TIME, "created": UTC_TIME, "at": UTC_TIME, "name": pl.String(), "number": pl.Int64()}
PRELUDE = "import carrara\nimport narwhals as nw\nimport numpy as np\n"


def minute(number: float) -> datetime:
    return START + number * MINUTE


@dataclass(frozen=True)
class Room:
    """Stores and definitions of one folder."""

    stores: Stores
    definitions: Definitions

    def put(self, **tables: pl.DataFrame) -> None:
        """Replace the files that the datasets read."""
        for name, frame in tables.items():
            frame.write_parquet(self.stores.root / f"{name}.parquet")

    def ingest(self) -> None:
        for name in in_order(self.definitions):
            ingest(self.stores, self.definitions, name)

    def compute(self, *names: str) -> list[FeatureTable]:
        """Ingest everything, then compute these views."""
        self.ingest()
        return [compute_feature_table(self.stores, self.definitions, self.view(name)) for name in names]

    def view(self, name: str) -> StoredView:
        found: StoredView = self.definitions.of_kind("feature view")[name]
        return found

    def entity(self, view: str) -> Entity:
        return self.definitions.get("entity", self.view(view).entity, Entity)

    def service(self, *references: str) -> ResolvedFeatures:
        return resolve_features(self.definitions, references, where="the test")

    def offline(self, labels: pl.DataFrame, *references: str) -> pl.DataFrame:
        return join_features(self.stores, self.service(*references), labels, "at", where="the labels")

    def materialise(self, name: str, until: datetime, *, rebuild: bool = False) -> Materialised:
        return materialise(self.stores, self.view(name), self.entity(name), until, rebuild=rebuild)

    def online(self, labels: pl.DataFrame, *references: str) -> dict[str, Any]:
        """What a request with these keys, fields and times gets."""
        service = self.service(*references)
        at = labels["at"].dt.timestamp("us").to_numpy()
        keys = {name: labels[name].to_numpy() for name in service.keys}
        fields = {name: labels[name].to_numpy() for name in service.request}
        return Retriever(service, self.stores.online).features(keys, fields, at)


def open_room(folder: Path, definitions: str, *, online: str = "lmdb:.carrara/online", **tables: pl.DataFrame) -> Room:
    """A room in `folder`, with these definitions and these tables as Parquet files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "definitions.py").write_text(PRELUDE + definitions)
    (folder / "carrara.toml").write_text(f"[stores]\nonline = {online!r}\n")
    room = reopen(folder)
    room.put(**tables)
    return room


def reopen(folder: Path) -> Room:
    configuration = read_configuration(folder)
    return Room(open_stores(configuration), load_definitions(configuration.definition_files))


def table(rows: Sequence[dict[str, Any]], **types: pl.DataType) -> pl.DataFrame:
    """Rows as a frame whose types do not hang on what is in them."""
    schema = {**TYPES, **types}
    columns = list(rows[0]) if rows else list(types)
    return pl.DataFrame(rows, schema={name: schema[name] for name in columns}, orient="row")


def raw_rows(folder: Path) -> dict[bytes, bytes]:
    """Every key and value of the online store below `folder`, which nobody has open in this process."""
    with lmdb.open(str(folder / ".carrara" / "online"), readonly=True) as environment, environment.begin() as reader:
        return {bytes(key): bytes(value) for key, value in reader.cursor()}


def known_row(
    rows: Sequence[dict[str, Any]], keys: dict[str, Any], at: datetime, ttl: timedelta | None = None
) -> dict[str, Any] | None:
    """The judge of a feature view: the newest row that was true and known at `at`, unless it is too old."""
    seen = [
        row
        for row in rows
        if all(row[key] is not None and row[key] == value for key, value in keys.items())
        and row["event"] <= at
        and row.get("created", row["event"]) <= at
    ]
    if not seen:
        return None
    newest = max(seen, key=lambda row: (row["event"], row.get("created", row["event"])))
    return None if ttl is not None and at - newest["event"] > ttl else newest


def window_value(
    view: AggregateView, feature: str, rows: Sequence[dict[str, Any]], keys: dict[str, Any], at: datetime
) -> float:
    """The judge of an aggregate view: the definition, event by event; NaN for missing."""
    aggregation, width = next((a, w) for a in view.aggregations for w in a.windows if feature in a.features(w))
    inside = [
        row
        for row in rows
        if all(row[key] is not None and row[key] == value for key, value in keys.items())
        and at - duration(width) < row["event"] <= at
        and (view.created_time is None or max(row["event"], row["created"]) <= at)
    ]
    if aggregation.column is None:
        return float(len(inside))
    # Of events at one moment the one that was known last is the newest, then the one whose columns are greatest.
    known = START if view.created_time is None else None
    inside.sort(
        key=lambda row: (
            row["event"],
            known or max(row["event"], row["created"]),
            [_rank(row[name]) for name in view.columns],
        )
    )
    if aggregation.function == "distinct":
        return float(len({row[aggregation.column] for row in inside if not missing(row[aggregation.column])}))
    values = [float(row[aggregation.column]) for row in inside if not missing(row[aggregation.column])]
    if aggregation.function == "top":
        last = {value: place for place, value in enumerate(values)}
        ranked = sorted(last, key=lambda value: (-values.count(value), -last[value]))
        rank = aggregation.features(width).index(feature)
        return ranked[rank] if rank < len(ranked) else math.nan
    if aggregation.function == "lag":
        place = aggregation.features(width).index(feature)
        return values[::-1][place] if place < len(values) else math.nan
    if not values:
        return math.nan
    picked = {
        "last": lambda: values[-1],
        "first": lambda: values[0],
        "min": lambda: min(values),
        "max": lambda: max(values),
    }
    if aggregation.function in picked:
        return picked[aggregation.function]()
    if aggregation.function == "std":
        return statistics.pstdev(values) if all(map(math.isfinite, values)) else math.nan
    total = _sum(values)
    return total if aggregation.function == "sum" else total / len(values)


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def same(found: Any, expected: Any) -> bool:
    """Equal, where NaN equals NaN and null equals null."""
    if found is None or expected is None:
        return found is expected
    return found == expected or (found != found and expected != expected)


def as_microseconds(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [microseconds(row["event"]) for row in rows]


def _sum(values: list[float]) -> float:
    try:
        return math.fsum(values)
    except ValueError:  # inf and -inf
        return math.nan


def _rank(value: Any) -> tuple[int, float]:
    if isinstance(value, str):
        return (1, 0.0)
    return (0, 0.0) if missing(value) else (1, float(value))
