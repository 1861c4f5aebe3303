"""Charts of a feature: how it is distributed, what it adds to single answers, and how the answer moves with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from carrara.evaluation.charts.vega import BLUE, GREEN, GREY, ORANGE, Spec, chart, columns_to_points

_MOST_FEATURES, _MOST_POINTS = 15, 100
_PARTS = {"train": GREY, "validation": ORANGE, "test": BLUE}


def shap_summary(features: Sequence[Mapping[str, Any]], scale: str = "margin") -> Spec:
    """What each of the features that matter most adds to single answers, coloured by the feature's value.

    `features` are those of a model record; of a model with several outputs, bars of the mean |contribution|.
    """
    known = sorted((one for one in features if one.get("shap")), key=lambda one: -one["shap"]["mean_abs"])
    drawn = known[:_MOST_FEATURES]
    subtitle = f"Shapley values: what a feature adds to the {scale}"
    left_out = f" · {len(known) - len(drawn)} smaller ones are not drawn" if len(known) > len(drawn) else ""
    y = {"field": "feature", "type": "nominal", "title": None, "sort": None}
    if not drawn or "contributions" not in drawn[0]["shap"]:
        points = columns_to_points(
            feature=[one["name"] for one in drawn], value=[one["shap"]["mean_abs"] for one in drawn]
        )
        x = {"field": "value", "type": "quantitative", "title": f"Mean |contribution| to the {scale}"}
        bars = [{"mark": {"type": "bar", "color": BLUE, "height": {"band": 0.7}}}]
        return chart(
            "Contributions", subtitle + left_out, bars, {"x": x, "y": y}, data={"values": points}, height={"step": 20}
        )
    points = []
    for one in drawn:
        values, contributions = (one["shap"][key][:_MOST_POINTS] for key in ("values", "contributions"))
        points += columns_to_points(
            feature=[one["name"]] * len(values), x=contributions, level=_levels(values), lift=_spread(contributions)
        )
    color = {
        "field": "level",
        "type": "quantitative",
        "title": "feature low → high",
        "scale": {"domain": [0, 1], "range": [BLUE, "#c9c3cf", ORANGE], "interpolate": "rgb"},
        "legend": {"labelExpr": "''", "gradientLength": 90, "gradientThickness": 8, "title": "feature low → high"},
    }
    mark = {"type": "circle", "size": 14, "opacity": 0.75}
    layers: list[Spec] = [
        {"mark": {"type": "rule", "color": GREY}, "encoding": {"x": {"datum": 0}}},
        {"mark": mark, "encoding": {"color": color, "yOffset": {"field": "lift", "type": "quantitative"}}},
    ]
    x = {"field": "x", "type": "quantitative", "title": f"Contribution to the {scale}"}
    return chart(
        "Contributions",
        subtitle + left_out,
        layers,
        {"x": x, "y": y},
        data={"values": points},
        height={"step": 24},
    )


def dependence(feature: Mapping[str, Any]) -> Spec:
    """The mean answer over a grid of a feature's values; several classes have a line each."""
    found = feature["dependence"]
    names, curves = found.get("classes") or [""], found["answers"]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found["values"])
    shown = sorted(range(len(curves)), key=lambda place: -float(np.ptp(curves[place])))[:4]
    points = []
    for place in shown:
        values = found["values"] if numeric else [str(value) for value in found["values"]]
        points += columns_to_points(x=values, y=curves[place], label=[names[place]] * len(values))
    x = {"field": "x", "type": "quantitative" if numeric else "nominal", "title": feature["name"]}
    encoding: Spec = {
        "x": {**x, **({"scale": {"zero": False}} if numeric else {"sort": None})},
        "y": {"field": "y", "type": "quantitative", "title": "Mean answer", "scale": {"zero": False}},
    }
    if len(curves) > 1:
        scale = {"domain": [names[place] for place in shown], "range": [BLUE, ORANGE, GREEN, GREY]}
        encoding["color"] = {"field": "label", "type": "nominal", "scale": scale}
    lines = {"mark": {"type": "line", "strokeWidth": 2, **({} if len(curves) > 1 else {"color": BLUE})}}
    dots = {"mark": {"type": "point", "filled": True, "size": 24, **({} if len(curves) > 1 else {"color": BLUE})}}
    layers = [lines, dots] if numeric else [dots]
    return chart("Partial dependence", feature["name"], layers, encoding, data={"values": points})


def dependence_of_pair(pair: Mapping[str, Any]) -> Spec:
    """The mean answer over a grid of two features' values."""
    one, other = pair["features"]
    cells = [(a, b) for a in range(len(pair["values"][0])) for b in range(len(pair["values"][1]))]
    points = columns_to_points(
        x=[_label(pair["values"][0][a]) for a, _ in cells],
        y=[_label(pair["values"][1][b]) for _, b in cells],
        answer=[pair["answers"][a][b] for a, b in cells],
    )
    color = {
        "field": "answer",
        "type": "quantitative",
        "title": "mean answer",
        "scale": {"range": ["#eef4fa", BLUE], "zero": False},
    }
    return chart(
        "Partial dependence of two",
        f"{one} and {other}",
        [{"mark": {"type": "rect"}, "encoding": {"color": color}}],
        {
            "x": {"field": "x", "type": "nominal", "title": one, "sort": None, "axis": {"labelAngle": -40}},
            "y": {"field": "y", "type": "nominal", "title": other, "sort": None},
        },
        data={"values": points},
    )


def distribution(feature: Mapping[str, Any]) -> Spec:
    """The shares of a feature's bins in each part, in the bins of the train part."""
    edges, categories = feature["distribution"]["edges"], feature["distribution"]["categories"]
    labels = _bins(edges) if edges is not None else [*categories, "anything else"]
    labels = [*labels, "missing"]
    points = []
    for part in [part for part in _PARTS if part in feature["parts"]]:
        counts = np.asarray(feature["parts"][part], np.float64)
        share = counts / (counts.sum() or 1.0)
        kept = [place for place in range(len(counts)) if any(feature["parts"][p][place] for p in feature["parts"])]
        points += columns_to_points(bin=[labels[place] for place in kept], share=share[kept], part=[part] * len(kept))
    scale = {"domain": list(_PARTS), "range": list(_PARTS.values())}
    bars = {
        "mark": {"type": "bar"},
        "encoding": {
            "xOffset": {"field": "part", "sort": list(_PARTS)},
            "color": {"field": "part", "type": "nominal", "scale": scale},
        },
    }
    return chart(
        "Distribution",
        f"{feature['name']}, in bins of the train part",
        [bars],
        {
            "x": {"field": "bin", "type": "nominal", "title": None, "sort": None, "axis": {"labelAngle": -40}},
            "y": {"field": "share", "type": "quantitative", "title": "Share of rows", "axis": {"format": ".0%"}},
        },
        data={"values": points},
    )


def _bins(edges: Sequence[float]) -> list[str]:
    """The names of the intervals that counts are of, below the first edge and from the last one among them."""
    if not edges:
        return ["all"]
    inner = [f"{low:.4g} – {high:.4g}" for low, high in pairwise(edges)]
    return [f"< {edges[0]:.4g}", *inner, f"≥ {edges[-1]:.4g}"]


def _levels(values: Sequence[Any]) -> list[float | None]:
    """The place of each value among the others, from 0 to 1; None where it is missing."""
    there = sorted({value for value in values if value is not None}, key=lambda value: (str(type(value)), value))
    places = {value: place / max(len(there) - 1, 1) for place, value in enumerate(there)}
    return [places.get(value) for value in values]


def _spread(contributions: Sequence[float]) -> list[float]:
    """How far from its feature's line a point is drawn, so that those of one place are seen side by side."""
    values = np.asarray(contributions, np.float64)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    bins = ((values - low) / ((high - low) or 1.0) * 40).astype(int)
    seen: dict[int, int] = {}
    found = []
    for one in bins.tolist():
        seen[one] = seen.get(one, -1) + 1
        found.append((seen[one] + 1) // 2 * (1 if seen[one] % 2 else -1))
    widest = max((abs(one) for one in found), default=0) or 1
    return [one / widest for one in found]


def _label(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
