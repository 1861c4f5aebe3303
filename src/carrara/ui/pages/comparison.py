"""Two versions of a model side by side: how good they are, and what made them differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from carrara.core.errors import CarraraError
from carrara.evaluation.slicing import Sliced
from carrara.models.registry import ModelVersion, read_record, resolve
from carrara.pipelines.reproduce import diff_versions
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, Page

_MOST = 300
_KEPT = 3600.0


def compare(desk: Desk, asked: Asked) -> Page:
    stores, name = desk.workspace.stores, asked["name"]
    newest = resolve(stores, name).version
    other = asked.number("b", newest) or newest
    one = asked.number("a", max(other - 1, 1)) or 1
    sides = [resolve(stores, f"{name}@{number}") for number in (one, other)]
    records = [read_record(stores, side) for side in sides]
    differences = [field for field in diff_versions(stores, *sides) if not field[0].startswith("metrics")]
    data = {
        "name": name,
        "a": one,
        "b": other,
        "metrics": _metrics(records),
        "features": _features(records),
        "differences": [{"field": f, "a": a, "b": b} for f, a, b in differences[:_MOST]],
        "more": max(len(differences) - _MOST, 0),
        "charts": [chart for chart in records[0]["charts"] if chart in records[1]["charts"]],
        "newest": newest,
        **_on_the_same_rows(desk, asked, sides),
    }
    return Page("model_compare.html.j2", f"{name}: {one} and {other}", data)


def _on_the_same_rows(desk: Desk, asked: Asked, sides: Sequence[ModelVersion]) -> dict[str, Any]:
    """Both asked the test rows of the first, where that was wanted; else why they cannot be."""
    slices, where = asked.all("slice"), asked.all("where")
    if not (asked.get("rows") or slices or where):
        return {"same": None, "why_not": ""}
    one, other = map(str, sides)
    wanted: list[Sliced] = [*slices, {sql: sql for sql in where}]
    key = ("compare", *(side.manifest for side in sides), *slices, None, *where)
    try:
        found = desk.kept(key, _KEPT, lambda: desk.workspace.models.compare(one, other, slices=wanted)).as_dict()
    except CarraraError as error:
        return {"same": None, "why_not": str(error)}
    (beside,) = found.pop("others")
    told = {name: beside[name] for name in ("metrics", "answers", "flips", "slices", "warnings")}
    return {"same": {**found, **told, "asked": [*slices, *where]}, "why_not": ""}


def _metrics(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each metric on both sides; `apart` where the intervals do not touch, so that the difference is no accident."""
    tests = [record["metrics"]["test"] for record in records]
    found = []
    for name in dict.fromkeys([*tests[0], *tests[1]]):
        a, b = (test.get(name) for test in tests)
        both = a is not None and b is not None and a["value"] is not None and b["value"] is not None
        bounds = both and None not in (a["low"], a["high"], b["low"], b["high"])
        found.append(
            {
                "metric": name,
                "a": a,
                "b": b,
                "change": b["value"] - a["value"] if both else None,
                "apart": bool(bounds and (a["high"] < b["low"] or b["high"] < a["low"])),
            }
        )
    return found


def _features(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The importance of each feature on both sides, those that changed the most first."""
    sides = [{f["name"]: f["importance"] for f in record["features"]} for record in records]
    rows = [{"name": n, "a": sides[0].get(n), "b": sides[1].get(n)} for n in dict.fromkeys([*sides[0], *sides[1]])]
    return sorted(rows, key=lambda row: -abs((row["a"] or 0) - (row["b"] or 0)))[:30]
