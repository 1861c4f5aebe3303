"""Charts of numbers over time: actual and predicted, of series one by one, by how far ahead, and of backtests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.evaluation.charts.vega import BLUE, GREEN, GREY, INK, ORANGE, Spec, chart, columns_to_points
from carrara.evaluation.intervals import deviations
from carrara.evaluation.slices import Codes
from carrara.evaluation.weighing import Floats, Ints

Times = npt.NDArray[np.int64]
"""Microseconds since 1970, in UTC, of shape (rows,)."""

_MOST_TIMES, _MOST_SERIES, _MOST_STEPS = 120, 4, 60
_TIME = {"field": "time", "type": "temporal", "title": None, "scale": {"type": "utc"}}
_VALUE = {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}}
_SORTS = {"actual": INK, "predicted": BLUE}


def over_time(times: Times, labels: Floats, scores: Floats) -> Spec:
    """The mean label and the mean prediction of at most 120 stretches of equal time."""
    points = _both(*_means(times, labels, scores))
    return chart(
        "Over time",
        f"means of {len(labels):,} rows · prediction {scores.mean():.4g}, actual {labels.mean():.4g}",
        [{"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"color": _sorted_by("sort")}}],
        {"x": _TIME, "y": _VALUE},
        data={"values": points},
    )


def series_over_time(times: Times, labels: Floats, scores: Floats, series: Codes, steps: Ints) -> Spec:
    """What the four longest series came to, and what was forecast of each the shortest time ahead."""
    nearest = np.flatnonzero(steps == steps.min())
    places = series.places[nearest]
    counts = np.bincount(places)
    longest = [place for place in np.argsort(-counts, kind="stable")[:_MOST_SERIES].tolist() if counts[place]]
    points = []
    for place in longest:
        here = nearest[places == place]
        for point in _both(*_means(times[here], labels[here], scores[here])):
            points.append({**point, "series": series.values[place]})
    left_out = int((counts > 0).sum()) - len(longest)
    scale = {"domain": [series.values[place] for place in longest], "range": [BLUE, ORANGE, GREEN, "#8d5fb8"]}
    dash = {"domain": list(_SORTS), "range": [[1, 0], [4, 3]]}
    return chart(
        "Series",
        f"solid: actual · dashed: forecast {int(steps.min())} ahead"
        + (f" · {left_out} other series are not drawn" if left_out else ""),
        [{"mark": {"type": "line", "strokeWidth": 1.8}}],
        {
            "x": _TIME,
            "y": _VALUE,
            "color": {"field": "series", "type": "nominal", "scale": scale},
            "strokeDash": {"field": "sort", "type": "nominal", "scale": dash, "legend": None},
        },
        data={"values": points},
    )


def error_by_horizon(labels: Floats, scores: Floats, steps: Ints) -> Spec:
    """The mean absolute error by how many steps ahead a forecast looks, with its interval."""
    errors, there = np.abs(scores - labels), np.unique(steps)[:_MOST_STEPS]
    each = [errors[steps == step] for step in there]
    means = np.array([one.mean() for one in each])
    reach = np.array([deviations() * one.std() / np.sqrt(len(one)) for one in each])
    points = columns_to_points(x=there, y=means, low=means - reach, high=means + reach)
    band = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    return chart(
        "Error by horizon",
        f"mean absolute error, of all {errors.mean():.4g} · line: 95 % interval",
        [
            {"mark": {"type": "rule", "color": GREY, "strokeWidth": 2}, "encoding": band},
            {"mark": {"type": "line", "color": BLUE, "strokeWidth": 2, "point": {"color": BLUE, "size": 40}}},
        ],
        {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": "Steps ahead",
                "axis": {"tickMinStep": 1, "format": "d"},
                "scale": {"zero": False, "nice": False, "padding": 16},
            },
            "y": {"field": "y", "type": "quantitative", "title": None, "scale": {"zero": False}},
        },
        data={"values": points},
    )


def folds_over_time(folds: Sequence[tuple[int, Times, Floats, Floats]]) -> Spec:
    """What rows came to and what each fold predicted of them, by its origin, a time in microseconds."""
    most = max(_MOST_TIMES // len(folds), 12)
    points = [
        {**point, "fold": number}
        for number, (_, times, labels, scores) in enumerate(folds, start=1)
        for point in _both(*_means(times, labels, scores, most))
    ]
    rules = columns_to_points(time=[origin // 1_000 for origin, *_ in folds])
    return chart(
        "Backtest",
        f"means over time · dashed: the {len(folds)} origins, each trained on what was known before",
        [
            {
                "data": {"values": rules},
                "mark": {"type": "rule", "color": GREY, "strokeDash": [4, 4]},
                "encoding": {"x": _TIME},
            },
            {
                "data": {"values": points},
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {"x": _TIME, "y": _VALUE, "color": _sorted_by("sort"), "detail": {"field": "fold"}},
            },
        ],
        {},
        width=560,
    )


def metric_by_fold(
    origins: Sequence[int], metric: str, values: Sequence[tuple[float, float, float]], against: Sequence[float]
) -> Spec:
    """A metric of each fold with its interval, (value, low, high), beside that of what has to be beaten."""
    times = [origin // 1_000 for origin in origins]
    found, low, high = zip(*values, strict=True)
    points = columns_to_points(time=times, value=found, low=low, high=high)
    ends = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    layers: list[Spec] = [
        {"mark": {"type": "rule", "color": GREY, "strokeWidth": 2}, "encoding": ends},
        {"mark": {"type": "line", "color": BLUE, "strokeWidth": 2, "point": {"color": BLUE, "size": 40}}},
    ]
    if against:
        held = {"type": "line", "color": ORANGE, "strokeDash": [4, 3], "point": {"color": ORANGE, "size": 30}}
        layers.append({"data": {"values": columns_to_points(time=times, value=against)}, "mark": held})
    return chart(
        f"{metric.replace('_', ' ')} by origin",
        "line: 95 % interval" + (" · orange: what has to be beaten" if against else ""),
        layers,
        {"x": _TIME, "y": _VALUE},
        data={"values": points},
    )


def _means(times: Times, labels: Floats, scores: Floats, most: int = _MOST_TIMES) -> tuple[Times, Floats, Floats]:
    """The times themselves where they are few, else stretches of equal time; with the mean label and score of each."""
    distinct, places = np.unique(times, return_inverse=True)
    if len(distinct) > most:
        edges = np.linspace(times.min(), times.max(), most + 1)
        places = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, most - 1)
        distinct = ((edges[1:] + edges[:-1]) / 2).astype(np.int64)
    counts = np.bincount(places, minlength=len(distinct))
    there = counts > 0
    means = [np.bincount(places, weights=v, minlength=len(distinct))[there] / counts[there] for v in (labels, scores)]
    return distinct[there], means[0], means[1]


def _both(times: Times, labels: Floats, scores: Floats) -> list[dict[str, Any]]:
    milliseconds, size = times // 1_000, len(times)
    actual = columns_to_points(time=milliseconds, value=labels, sort=["actual"] * size)
    return actual + columns_to_points(time=milliseconds, value=scores, sort=["predicted"] * size)


def _sorted_by(field: str) -> Spec:
    return {"field": field, "type": "nominal", "scale": {"domain": list(_SORTS), "range": list(_SORTS.values())}}
