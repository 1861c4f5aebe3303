"""Charts of what trainings have told: the losses by round, what the features are taken for, a metric by version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from carrara.evaluation.charts.vega import BLUE, GREY, Spec, chart, columns_to_points, dots, line, thinned

_MOST_BARS = 24


def feature_importance(names: Sequence[str], values: Sequence[float]) -> Spec:
    """Bars of each feature's share of importance (0..1), the largest first; the 24 largest are drawn."""
    order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")[:_MOST_BARS]
    points = columns_to_points(feature=[names[i] for i in order], importance=[float(values[i]) for i in order])
    left_out = len(names) - len(order)
    return chart(
        "Feature importance",
        "share of the total" + (f" · {left_out} smaller ones are not drawn" if left_out else ""),
        [{"mark": {"type": "bar", "color": BLUE, "height": {"band": 0.7}}}],
        {
            "x": {"field": "importance", "type": "quantitative", "title": None, "axis": {"format": ".0%"}},
            "y": {"field": "feature", "type": "nominal", "title": None, "sort": None},
        },
        data={"values": points},
        height={"step": 20},
    )


def learning_curve(losses: Mapping[str, Sequence[float]]) -> Spec:
    """The loss of each part after each round; the dot is the lowest one of the validation part."""
    layers = []
    for part, color in (("train", GREY), ("validation", BLUE)):
        values = np.asarray(losses.get(part, ()), dtype=np.float64)
        kept = thinned(np.arange(len(values), dtype=np.float64))
        layers.append(line(columns_to_points(x=kept + 1, y=values[kept]), color=color))
    held = np.asarray(losses["validation"], dtype=np.float64)
    best = int(held.argmin())
    layers.append(dots(columns_to_points(x=[best + 1], y=[held[best]])))
    return chart(
        "Learning curve",
        f"blue: validation, lowest {held[best]:.4g} after {best + 1:,} rounds · grey: train",
        layers,
        {
            "x": {"field": "x", "type": "quantitative", "title": "Round"},
            "y": {"field": "y", "type": "quantitative", "title": "Loss", "scale": {"zero": False}},
        },
    )


def by_version(values: Mapping[int, float | None], metric: str, version: int) -> Spec:
    """A metric of every version of a model that has it; the dot is the one that is looked at."""
    known = {number: value for number, value in sorted(values.items()) if value is not None}
    points = columns_to_points(x=list(known), y=list(known.values()))
    here = [point for point in points if point["x"] == version]
    return chart(
        "Versions",
        f"{metric.replace('_', ' ')} on each version's own test part",
        [line(points), dots(points, color=BLUE, size=24), dots(here)],
        {
            "x": {"field": "x", "type": "quantitative", "title": "Version", "axis": {"tickMinStep": 1, "format": "d"}},
            "y": {"field": "y", "type": "quantitative", "title": None, "scale": {"zero": False}},
        },
    )
