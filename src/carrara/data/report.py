"""The page of a dataset version, or of two side by side: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.clock import long_text
from carrara.core.plugins import require
from carrara.data.anomalies import Anomaly
from carrara.data.checks import check_version
from carrara.data.column_statistics import ColumnStatistics
from carrara.data.diff import ColumnDiff, column_diffs
from carrara.data.numbers import Numbers, equal_edges
from carrara.data.schema import ColumnSchema
from carrara.data.statistics import Statistics
from carrara.data.versions import DatasetVersion, dataset_version, read_statistics
from carrara.storage.stores import Stores

Floats = npt.NDArray[np.float64]

_BINS = 24
_VALUES = 12


def write_report(
    stores: Stores, name: str, version: int | None = None, against: int | None = None, path: Path | None = None
) -> Path:
    """Write the page of a version, with another one beside it when `against` is given, and return its path."""
    checked = check_version(stores, name, version)
    found = dataset_version(stores, name, version)
    other = dataset_version(stores, name, against) if against is not None else None
    suffix = f"-against-{other.version}" if other is not None else ""
    target = path or stores.root / "reports" / f"{name}-{found.version}{suffix}.html"
    sides = [(other, read_statistics(stores, other))] if other is not None else []
    page = render_report([*sides, (found, checked.statistics)], checked.anomalies, dict(checked.schema.columns))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return target


def render_report(
    sides: list[tuple[DatasetVersion, Statistics]], anomalies: list[Anomaly], schema: dict[str, ColumnSchema]
) -> str:
    """The page of one version, or of two: the last one is judged, the first one what it is compared with.

    Raises MissingExtra when the libraries of `carrara[report]` are not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose="the HTML report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, share=_share, long=long_text)
    folder = files("carrara.data")
    script = folder.joinpath("report.js").read_text("utf-8")
    template = environment.from_string(folder.joinpath("report.html.j2").read_text("utf-8"))
    page: str = template.render(
        versions=[version for version, _ in sides],
        anomalies=anomalies,
        columns=_columns([statistics for _, statistics in sides], anomalies, schema),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=folder.joinpath("report.css").read_text("utf-8"),
    )
    return page


def _columns(
    sides: list[Statistics], anomalies: list[Anomaly], schema: dict[str, ColumnSchema]
) -> list[dict[str, Any]]:
    """A column a row: those with anomalies first, then those that moved the most, then in the table's order."""
    diffs = {diff.column: diff for diff in column_diffs(*sides)} if len(sides) == 2 else {}
    names = dict.fromkeys(name for statistics in reversed(sides) for name in statistics.columns)
    summaries = [statistics.summary() for statistics in sides]
    rows = [
        {
            "name": name,
            "kind": _kind([s.columns[name] for s in sides if name in s.columns]),
            "schema": schema.get(name),
            "anomalies": [a for a in anomalies if a.column == name],
            "diff": _moved(diffs.get(name)),
            "sides": [summary.get(name) for summary in summaries],
            "histogram": _histogram([s.columns.get(name) for s in sides], by_quantiles=False),
            "quantiles": _histogram([s.columns.get(name) for s in sides], by_quantiles=True),
            "values": _values([s.columns.get(name) for s in sides]),
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: (not row["anomalies"], -(row["diff"].distance if row["diff"] else 0.0)))


def _moved(diff: ColumnDiff | None) -> ColumnDiff | None:
    return diff if diff is not None and diff.change != "none" else None


def _kind(columns: Iterable[ColumnStatistics]) -> str:
    column = list(columns)[-1]
    if column.is_time:
        return "time"
    if column.numbers is not None:
        return "number"
    return "text" if column.frequent is not None else "other"


def _histogram(columns: list[ColumnStatistics | None], *, by_quantiles: bool) -> dict[str, Any] | None:
    """Bars for each side over the same edges: `bars` are (left, width, height) shares of the drawing."""
    parts = [_numbers(column) for column in columns]
    some = [numbers for numbers in parts if numbers is not None and numbers.sketch.total]
    if not some:
        return None
    edges = _edges(some, by_quantiles)
    shown = columns[-1] or columns[0]
    assert shown is not None
    return {
        "sides": [[] if n is None else _bars(n.sketch.histogram(edges), edges, by_quantiles) for n in parts],
        "low": _end(shown, edges[0]),
        "high": _end(shown, edges[-1]),
    }


def _numbers(column: ColumnStatistics | None) -> Numbers | None:
    if column is None:
        return None
    return column.numbers or column.lengths


def _edges(parts: list[Numbers], by_quantiles: bool) -> Floats:
    edges = equal_edges(parts, _BINS)
    if edges.size < 2:
        return np.array([edges[0] - 0.5, edges[0] + 0.5])
    if by_quantiles:
        inner = parts[0].sketch.quantiles(np.arange(1, 10) / 10)
        return np.unique(np.concatenate([edges[:1], inner, edges[-1:]]))
    return edges


def _bars(counts: Floats, edges: Floats, by_quantiles: bool) -> list[dict[str, float]]:
    """Equal widths show counts; quantile bins show density, because their widths differ."""
    places = (edges - edges[0]) / (edges[-1] - edges[0])
    widths = np.diff(places)
    heights = counts / np.maximum(widths, 1e-6) if by_quantiles else counts
    top = heights.max() or 1.0
    return [
        {"x": round(x * 100, 3), "width": round(w * 100, 3), "height": round(h / top * 100, 2), "count": int(c)}
        for x, w, h, c in zip(places[:-1], widths, heights, counts, strict=True)
    ]


def _end(column: ColumnStatistics, value: float) -> str:
    return column.time_text(value)[:16].replace("T", " ") if column.is_time else number(value)


def _values(columns: list[ColumnStatistics | None]) -> list[dict[str, Any]]:
    """The commonest values of either side, with the share of the rows in each."""
    kept = [column for column in columns if column is not None and column.frequent is not None]
    if not kept:
        return []
    shares = [column.shares() if column is not None else {} for column in columns]
    last = kept[-1].frequent
    first = kept[0].frequent
    assert last is not None
    assert first is not None
    names = dict.fromkeys([value for value, _ in last.top(_VALUES)] + [value for value, _ in first.top(_VALUES)])
    most = max((share.get(name, 0.0) for name in names for share in shares), default=0.0) or 1.0
    return [
        {
            "value": name,
            "shares": [s.get(name, 0.0) for s in shares],
            "bars": [100 * s.get(name, 0) / most for s in shares],
        }
        for name in list(names)[:_VALUES]
    ]


def number(value: Any) -> str:
    """A figure to four digits, or a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value[:19].replace("T", " ")
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"
