"""The report of a model version: its whole record as one HTML page that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np

from carrara.core.figures import cell
from carrara.core.plugins import require
from carrara.data.distances import jensen_shannon
from carrara.models.figures import exact, number, share, time_of, when, words
from carrara.models.inline_chart import inline_markup
from carrara.models.learned.tree_view import TreeView

_PURPOSE = "the HTML report"
_MOST_ENTRIES, _HEADLINES, _MOST_MOVED, _MOVED = 60, 4, 8, 0.01

# Distributions, curves and pairs are drawn: their figures are in the record.
_DRAWN = ("scores", "curve", "shap", "dependence_of_pairs", "warnings")

_SECTIONS = (
    ("gates", "Gates", "gate_results"),
    ("metrics", "Metrics", "metric_names"),
    ("thresholds", "Thresholds", "thresholds"),
    ("charts", "Charts", "charts"),
    ("weak-slices", "Weakest", "weak_slices"),
    ("slices", "Slices", "slices"),
    ("fairness", "Groups", "fairness"),
    ("segments", "Segments", "segments"),
    ("mistakes", "Mistakes", "mistakes"),
    ("features", "Features", "features"),
    ("nodes", "Nodes", "nodes"),
    ("learned", "Learned", "learned"),
    ("trees", "Trees", "trees"),
    ("datasets", "Data", "datasets"),
    ("configuration", "Configuration", "configuration"),
    ("lineage", "Lineage", "lineage"),
    ("code", "Code", "code"),
)


def render_report(
    record: Mapping[str, Any],
    trees: Sequence[TreeView] = (),
    *,
    learned: Mapping[str, Any] | None = None,
    champion: Mapping[str, Any] | None = None,
) -> str:
    """The HTML page of a model record, with some of its trees, or the coefficients, centres or layers that it has
    `learned`, and beside the record of the `champion`; what is missing in the record is left out of the page.

    The page loads nothing, runs nothing but the slider of thresholds, and every value in it is escaped. Raises
    MissingExtra when the libraries of `carrara[report]` are not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose=_PURPOSE)
    loader = jinja2.FunctionLoader(lambda name: files("carrara.models").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        number=number, exact=exact, share=share, when=when, words=words, entries=_entries, kind=_kind, bars=_bars
    )
    environment.filters.update(cell=cell, span=_span, curves=_curves, from_zero=_from_zero)
    view = {**_view(record), **_learned(learned), **_champion(record, champion), "trees": trees}
    sections = [(id, title) for id, title, key in _SECTIONS if view.get(key) or record.get(key)]
    page: str = environment.get_template("report.html.j2").render(view, sections=sections)
    return page


def _view(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the template reads: every key present, charts drawn, rows in the order they are shown."""
    metrics = record.get("metrics") or {}
    markup = require("markupsafe", extra="report", purpose=_PURPOSE)
    summary, charts = record.get("summary") or {}, record.get("charts") or {}
    test, validation, baseline = (metrics.get(part) or {} for part in ("test", "validation", "baseline"))
    slices = metrics.get("slices") or []
    script = files("carrara.models").joinpath("thresholds.js").read_text("utf-8")
    features = sorted(record.get("features") or [], key=lambda feature: -(feature.get("importance") or 0.0))
    return {
        "record": record,
        "metric_names": list(dict.fromkeys([*test, *validation, *baseline])),
        "test": test,
        "validation": validation,
        "baseline": baseline,
        "headline": [
            {"name": name, "test": test[name], "baseline": baseline.get(name)} for name in list(test)[:_HEADLINES]
        ],
        "warnings": summary.get("warnings") or [],
        "slices": slices,
        "slice_sql": _sql(record),
        "slice_scale": _scale(slices, test),
        "weak_slices": metrics.get("weak_slices") or [],
        "fairness": metrics.get("fairness") or [],
        "segments": metrics.get("segments") or [],
        "mistakes": metrics.get("mistakes") or [],
        "loss": str(metrics.get("loss") or "loss").capitalize(),
        "permuted": next((f["permutation"]["metric"] for f in features if f.get("permutation")), None),
        "shap": summary.get("shap") if any(feature.get("shap") for feature in features) else None,
        "dependent": _answers(features),
        "moved": _moved(features),
        "thresholds": _thresholds(charts),
        "script": markup.Markup(script),
        "script_digest": f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
        "slice_metrics": list(dict.fromkeys(name for one in slices for name in one.get("metrics") or {})),
        "nodes": (record.get("parameters") or {}).get("nodes") or [],
        "features": features,
        "most_important": max((feature.get("importance") or 0.0 for feature in features), default=0.0),
        "gates": record.get("gates") or {},
        "gate_results": (record.get("gates") or {}).get("results"),
        "charts": {name: inline_markup(name, spec) for name, spec in charts.items() if name != "thresholds"},
        "summary": {name: value for name, value in summary.items() if name not in _DRAWN and value},
        "duration": _duration(record.get("started_at"), record.get("ended_at")),
    }


def _sql(record: Mapping[str, Any]) -> dict[str, str]:
    """The SQL of the slices that are made by some, by their names."""
    declared = (record.get("configuration") or {}).get("slices") or []
    return {name: sql for one in declared if isinstance(one, dict) for name, sql in one.items()}


def _thresholds(charts: Mapping[str, Any]) -> str:
    points = ((charts.get("thresholds") or {}).get("data") or {}).get("values") or []
    kept = ("threshold", "tp", "fp", "fn", "tn")
    return msgspec.json.encode([{name: point[name] for name in kept} for point in points]).decode() if points else ""


def _learned(learned: Mapping[str, Any] | None) -> dict[str, Any]:
    if not learned or learned.get("kind") not in ("linear", "clusters", "net", "graph"):
        return {}
    if learned["kind"] != "linear":
        return {"learned": learned}
    first = [abs(one["coefficients"][0]) for one in learned["coefficients"]]
    names = learned["classes"] if len(learned["intercepts"]) > 1 else ["Coefficient"]
    return {"learned": learned, "coefficient_names": names, "most_coefficient": max(first, default=0.0)}


def _champion(record: Mapping[str, Any], champion: Mapping[str, Any] | None) -> dict[str, Any]:
    if champion is None or champion.get("version") == record.get("version"):
        return {}
    return {"champion": champion["metrics"]["test"], "champion_name": f"Champion @{champion['version']}"}


def _scale(slices: Sequence[Mapping[str, Any]], test: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """From the lowest to the highest end of the slices' intervals of the first metric, and the value of all rows."""
    name = next((name for one in slices[:1] for name in one.get("metrics") or {}), None)
    values = [(one.get("metrics") or {}).get(name) or {} for one in slices[:_MOST_ENTRIES]]
    ends = [value[end] for value in values for end in ("low", "high") if value.get(end) is not None]
    whole = (test.get(name) or {}).get("value") if name else None
    if not ends or whole is None:
        return None
    return min(*ends, whole), max(*ends, whole), whole


def _span(value: Mapping[str, Any], scale: tuple[float, float, float] | None) -> tuple[float, ...] | None:
    """Where an interval begins, how wide it is, where its value and that of all rows are, out of 100."""
    if scale is None or value.get("low") is None or value.get("high") is None or scale[1] <= scale[0]:
        return None
    low, high, whole = scale

    def place(x: float) -> float:
        return round(1 + 98 * (x - low) / (high - low), 2)

    start = place(value["low"])
    return start, round(place(value["high"]) - start, 2), place(value["value"]), place(whole)


def _from_zero(value: float, most: float) -> tuple[float, float]:
    """Where a bar from the middle begins, and how wide it is, out of 100."""
    width = round(49 * abs(value) / most, 2) if most else 0.0
    return (50.0 if value >= 0 else 50 - width), width


def _answers(features: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The lowest and the highest mean answer of all dependences."""
    curves = (curve for one in features if one.get("dependence") for curve in one["dependence"]["answers"])
    found = [y for curve in curves for y in curve if y is not None]
    return (min(found), max(found)) if found else None


def _curves(dependence: Mapping[str, Any] | None, scale: tuple[float, float]) -> list[str]:
    """The points of a sparkline for each output."""
    if not dependence or scale[1] <= scale[0]:
        return []
    lines = []
    for curve in (curve for curve in dependence["answers"] if None not in curve):
        step = 116 / max(len(curve) - 1, 1)
        heights = [26 - 24 * (y - scale[0]) / (scale[1] - scale[0]) for y in curve]
        lines.append(" ".join(f"{2 + place * step:.1f},{height:.1f}" for place, height in enumerate(heights)))
    return lines


def _moved(features: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, list[Any]]]:
    """The features whose test part is farthest from the train part, with the bars of each part."""
    found = []
    for one in features:
        parts = one.get("parts") or {}
        if {"train", "test"} <= set(parts):
            divergence = jensen_shannon(np.asarray(parts["train"]), np.asarray(parts["test"]))
            bars = [_bars({"counts": parts[part]}) for part in ("train", "validation", "test") if part in parts]
            found.append((str(one["name"]), divergence, bars))
    found.sort(key=lambda one: -one[1])
    return [one for one in found[:_MOST_MOVED] if one[1] > _MOVED]


def _duration(start: Any, end: Any) -> str:
    try:
        seconds = (time_of(end) - time_of(start)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _kind(value: Any) -> str:
    """How the template draws a nested value: as a mapping, a table, a list or a scalar."""
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        flat = all(isinstance(item, Mapping) and not any(map(_nested, item.values())) for item in value)
        return "table" if value and flat else "list"
    return "scalar"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _entries(value: Any) -> tuple[list[Any], int]:
    """The first entries of a mapping or a list, and how many were left out: learned parameters can be huge."""
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    return items[:_MOST_ENTRIES], max(len(items) - _MOST_ENTRIES, 0)


def _bars(histogram: Any, width: float = 120, height: float = 28) -> list[tuple[float, float, float, float]]:
    """(x, y, width, height) of each bar of a sparkline of `histogram`; empty when there is nothing to draw."""
    counts = [float(count) for count in (histogram or {}).get("counts") or []]
    if not counts or max(counts) <= 0:
        return []
    step, tallest = width / len(counts), max(counts)
    # A bar of one row must be seen beside one of a million, so no filled bin is lower than a pixel.
    heights = [max(count / tallest * height, 1.0) if count else 0.0 for count in counts]
    return [
        (round(i * step, 2), round(height - h, 2), round(step * 0.9, 2), round(h, 2)) for i, h in enumerate(heights)
    ]
