"""One prediction explained: what was asked, what was read, how unusual that was, and what each feature added."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import CarraraError, NotFoundError
from carrara.models.registry import ModelVersion, read_record
from carrara.monitoring.prediction_log import log_table
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, Page
from carrara.ui.pages.models import resolve_version


def show(desk: Desk, asked: Asked) -> Page:
    found = resolve_version(desk, asked)
    row = _logged(desk, found, asked["prediction"])
    record = desk.kept(("record", found.manifest), 3600.0, lambda: read_record(desk.workspace.stores, found))
    features = {f["name"]: f for f in record["features"]}
    added = _contributions(desk, found, row)
    told = [
        {
            "name": name,
            "value": row.get(name),
            "added": added.get(name) if added is not None else None,
            "statistics": feature["statistics"],
            "place": _place(feature["statistics"], row.get(name)),
        }
        for name, feature in features.items()
    ]
    told.sort(key=lambda one: (-abs(one["added"] or 0.0), -(features[one["name"]]["importance"] or 0.0)))
    outputs = [o["name"] for o in record["signature"]["serving_default"]["outputs"]]
    known = {"prediction_id", "event_time", "logged_at", "version", *outputs, *features}
    data = {
        "model": found.model,
        "version": found.version,
        "prediction": row["prediction_id"],
        "event_time": row["event_time"],
        "logged_at": row["logged_at"],
        "answered": {name: row.get(name) for name in outputs},
        "request": {name: value for name, value in row.items() if name not in known and value is not None},
        "features": told,
        "explained": added is not None,
    }
    most = max((abs(one["added"]) for one in told if one["added"] is not None), default=0.0)
    return Page(
        "prediction.html.j2", "One prediction", data, {"most": most, "named": str(found), "given": data["request"]}
    )


def _logged(desk: Desk, found: ModelVersion, prediction: str) -> dict[str, Any]:
    lake = desk.workspace.stores.lake
    if lake.exists(log_table(found.model)):
        wanted = (pl.col("prediction_id") == prediction) & (pl.col("version") == found.version)
        rows = lake.scan(log_table(found.model)).filter(wanted).head(1).collect()
        if rows.height:
            return rows.row(0, named=True)
    raise NotFoundError("prediction", prediction, hint=f"It is not in the log of {found}.")


def _contributions(desk: Desk, found: ModelVersion, row: dict[str, Any]) -> dict[str, float] | None:
    """What each feature adds to the margin of this row, by the way it takes through the trees; None without trees.

    At each split the expected answer changes from the node's to the child's; the change is the feature's (Saabas).
    """
    try:
        trees = desk.kept(
            ("forest", found.manifest), 3600.0, lambda: desk.workspace.models.trees(str(found), seen=False)
        )
    except CarraraError:
        return None
    if trees.transforms is not None or len(trees.forest.base) != 1:
        return None
    names = [spec.name for spec in trees.signature.inputs]
    values = np.array([_figure(row.get(name)) for name in names], np.float32)
    if tuple(names) != trees.columns:
        return None
    total: dict[str, float] = {}
    for tree in trees.forest.trees:
        expected = _expected(tree)
        way = tree.path_of(values)
        for here, there in pairwise(way):
            name = names[int(tree.column[here])]
            total[name] = total.get(name, 0.0) + float(expected[there] - expected[here])
    return total


def _expected(tree: Any) -> Any:
    """The mean answer of the training rows at each node, by the weights that the framework has kept."""
    expected = np.where(tree.left < 0, tree.value, 0.0).astype(np.float64)
    for node in np.argsort(-tree.depths(), kind="stable"):
        if tree.left[node] >= 0:
            sides = [int(tree.left[node]), int(tree.right[node])]
            weights = tree.weight[sides]
            expected[node] = np.average(expected[sides], weights=weights if weights.sum() else None)
    return expected


def _figure(value: Any) -> float:
    return float("nan") if value is None or isinstance(value, str) else float(value)


def _place(statistics: dict[str, Any], value: Any) -> float | None:
    """Which share of the training rows lies below a value, by their quantiles."""
    quantiles = statistics.get("quantiles")
    if not quantiles or value is None or isinstance(value, str | bool):
        return None
    return float(np.interp(float(value), quantiles, np.linspace(0, 1, len(quantiles))))
