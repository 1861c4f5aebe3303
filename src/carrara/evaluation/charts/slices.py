"""Charts of slices: a metric in each, and where a model is worst."""

from __future__ import annotations

from collections.abc import Sequence

from carrara.evaluation.charts.vega import BLUE, GREY, Spec, chart, columns_to_points
from carrara.evaluation.slices import SliceResult

_MOST_BARS = 24


def slice_bars(slices: Sequence[SliceResult], metric: str) -> Spec:
    """A metric with its interval in each slice, in the order given; the 24 largest slices are drawn."""
    measured = [one for one in slices if metric in one.metrics]
    large = sorted(measured, key=lambda one: -one.rows)[:_MOST_BARS]
    drawn = [one for one in measured if one in large]
    found = [one.metrics[metric] for one in drawn]
    points = columns_to_points(
        slice=[f"{one.column}: {one.value}" for one in drawn],
        value=[m.value for m in found],
        low=[m.low for m in found],
        high=[m.high for m in found],
    )
    left_out = len(measured) - len(drawn)
    # Dots and not bars: an axis that must start at 0 would hide differences, and one that does not would lie.
    return chart(
        f"Slices: {metric.replace('_', ' ')}",
        "line: 95 % interval" + (f" · {left_out} smaller slices are not drawn" if left_out else ""),
        [
            {
                "mark": {"type": "rule", "color": GREY, "strokeWidth": 2},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "opacity": 1, "size": 55, "color": BLUE},
                "encoding": {"x": {"field": "value", "type": "quantitative"}},
            },
        ],
        {
            "x": {"type": "quantitative", "title": metric.replace("_", " "), "scale": {"zero": False}},
            "y": {"field": "slice", "type": "nominal", "title": None, "sort": None},
        },
        data={"values": points},
        height={"step": 20},
    )
