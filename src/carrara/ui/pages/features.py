"""Features: a search over all of them, and one with what it holds, how that moved, how fresh it is, who reads it."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import attrgetter
from typing import Any

import polars as pl

from carrara.core.drawings import curves
from carrara.core.errors import NotFoundError
from carrara.features.catalogue import CatalogueEntry, search
from carrara.features.offline import newest_table, scan_table
from carrara.features.rows import EVENT_TIME
from carrara.features.training_set import read_training_set
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged
from carrara.ui.pages.freshness import freshness

_FACETS = ("entity", "kind", "view", "owner", "type")
_MOST_VALUES = 12
_PERIODS = 24
_SECONDS = 10.0


def index(desk: Desk, asked: Asked) -> Page:
    everything = _all(desk)
    facets: dict[str, Any] = {name: asked.get(name) for name in _FACETS}
    pii = {"yes": True, "no": False}.get(asked.get("pii") or "")
    found = _found(everything, asked.get("q") or "", asked.get("tag"), {"pii": pii, **facets})
    shown = found[asked.offset : asked.offset + PAGE_ROWS]
    data = {
        "features": [_told(entry) for entry in shown],
        "known": len(everything),
        **paged(asked, len(found)),
    }
    return Page("features.html.j2", "Features", data, {"facets": _counted(found), "filters": facets})


def warm(desk: Desk) -> None:
    """Look everything up that the first visitor would wait for."""
    _all(desk)


def show(desk: Desk, asked: Asked) -> Page:
    entry = _one(desk, asked["feature"])
    status = next((one for one in freshness(desk) if one.view == entry.view), None)
    told, seen_in = entry.as_dict(), f"the table of {entry.view}"
    if not entry.statistics and (reader := _reader(desk, entry)) is not None:
        # What is computed at the time of a request has no table: a training set holds its values.
        told["statistics"] = next((f["statistics"] for f in reader["features"] if f["name"] == entry.feature), None)
        seen_in = f"the training part of {reader['model']}@{reader['version']}"
    data = {"feature": told, "status": status.as_dict() if status is not None else None, "seen_in": seen_in}
    return Page("feature.html.j2", entry.feature, data)


def over_time(desk: Desk, asked: Asked) -> Page:
    """A feature's distribution by the event time of its rows; a part of the feature's page that is read later."""
    entry = _one(desk, asked["feature"])
    key = ("over time", entry.feature, entry.definition, entry.computed_at, entry.models)
    periods = desk.kept(key, 3600.0, lambda: _periods(desk, entry))
    numeric = bool(periods) and periods[0]["middle"] is not None
    quantiles = (("90 %", "high"), ("median", "middle"), ("10 %", "low")) if numeric else ()
    lines = {name: [(one["from"], one[field]) for one in periods] for name, field in quantiles}
    drawn = curves(lines, said=f"{entry.feature} over time: the median, and where 80 per cent of the rows are")
    nulls = curves(
        {"nulls": [(one["from"], one["null_share"]) for one in periods]}, height=60, from_zero=True, said="nulls"
    )
    return Page("over_time.html.j2", entry.feature, {"periods": periods}, {"curves_drawn": drawn, "nulls_drawn": nulls})


def _all(desk: Desk) -> list[CatalogueEntry]:
    """The catalogue, seconds old at most; renewed beside, so that nobody who searches waits for it."""
    definitions = desk.definitions()
    return desk.kept(("catalogue", id(definitions)), _SECONDS, desk.workspace.features.all)


def _found(
    everything: list[CatalogueEntry], text: str, tag: str | None, facets: dict[str, Any]
) -> list[CatalogueEntry]:
    if not text and tag is None and not any(value is not None for value in facets.values()):
        return everything
    return search(everything, text, tag=tag, **facets)


def _one(desk: Desk, feature: str) -> CatalogueEntry:
    entries = _all(desk)
    for entry in entries:
        if entry.feature == feature:
            return entry
    raise NotFoundError("feature", feature, [entry.feature for entry in entries])


def _reader(desk: Desk, entry: CatalogueEntry) -> dict[str, Any] | None:
    """The record of the newest model version that was trained on a feature."""
    if not entry.models:
        return None
    newest = max(entry.models, key=lambda model: int(model.rpartition("@")[2]))
    return desk.kept(("record", newest), 3600.0, lambda: desk.workspace.models.record(newest))


def _rows(desk: Desk, entry: CatalogueEntry) -> tuple[pl.LazyFrame, str, str] | None:
    """Rows that hold a feature, with the names of its column and of their time: of its table, or of a training set."""
    stores = desk.workspace.stores
    view = desk.definitions().of_kind("feature view").get(entry.view)
    table = newest_table(stores, view) if view is not None else None
    name = entry.feature.partition(":")[2]
    if view is not None and table is not None and entry.statistics:
        return scan_table(stores, table), name, EVENT_TIME
    reader = _reader(desk, entry)
    if reader is None:
        return None
    _, rows = read_training_set(stores, reader["model"], reader["datasets"]["training_set"]["version"])
    return rows, entry.feature, reader["configuration"]["label"]["time"]


def _periods(desk: Desk, entry: CatalogueEntry) -> list[dict[str, Any]]:
    """Quantiles and nulls of a feature in each of up to 24 stretches of the time of its rows."""
    held = _rows(desk, entry)
    if held is None:
        return []
    rows, name, time = held
    schema = rows.collect_schema()
    if name not in schema or time not in schema:
        return []
    low, high = rows.select(low=pl.col(time).min(), high=pl.col(time).max()).collect(engine="streaming").row(0)
    if low is None or low == high:
        return []
    step = (high - low) / _PERIODS
    place = ((pl.col(time) - low) / step).cast(pl.Int32).clip(0, _PERIODS - 1)
    numeric = schema[name].is_numeric() or schema[name] == pl.Boolean
    value = pl.col(name).cast(pl.Float64) if numeric else pl.lit(None, pl.Float64)
    figures = {
        key: value.quantile(share) if numeric else value.first()
        for key, share in (("low", 0.1), ("middle", 0.5), ("high", 0.9))
    }
    found = rows.group_by(place.alias("__place")).agg(
        rows=pl.len(), null_share=pl.col(name).is_null().mean(), **figures
    )
    told = found.sort("__place").collect(engine="streaming").to_dicts()
    return [{"from": low + step * one.pop("__place"), **one} for one in told]


def _told(entry: CatalogueEntry) -> dict[str, Any]:
    kept = ("feature", "view", "kind", "type", "entity", "description", "owner", "pii", "computed_at", "rows")
    held = entry.statistics or {}
    return {
        **{name: getattr(entry, name) for name in kept},
        "tags": list(entry.tags),
        "models": len(entry.models),
        "nulls": held["nulls"] / held["rows"] if held.get("rows") else None,
        "histogram": (held.get("histogram") or {}).get("counts") or [],
    }


def _counted(found: list[CatalogueEntry]) -> dict[str, list[tuple[str, int]]]:
    """The values of each facet among what was found, the commonest first."""
    counted = {name: Counter(map(attrgetter(name), found)) for name in _FACETS}
    counted["tag"] = Counter(chain.from_iterable(map(attrgetter("tags"), found)))
    counted["pii"] = Counter("yes" if personal else "" for personal in map(attrgetter("pii"), found))
    for values in counted.values():
        values.pop("", None)
        values.pop(None, None)
    return {name: values.most_common(_MOST_VALUES) for name, values in counted.items() if values}
