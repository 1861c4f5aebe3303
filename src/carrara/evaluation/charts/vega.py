"""The shared look and the building blocks of charts: Vega-Lite v6 specs as plain dicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from carrara.evaluation.weighing import Floats, Ints

Spec = dict[str, Any]

POINTS = 300
"""The most points of a curve: more cannot be seen at this size, and a record keeps every one."""

# Blue and orange are told apart with every common colour blindness, and in print.
BLUE, ORANGE, GREEN, GREY, INK = "#2f6fb3", "#d9730d", "#2a9d8f", "#9aa3ad", "#1f2933"
_MUTED, _WIDTH, _HEIGHT = "#52606d", 340, 240
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def theme() -> Spec:
    """The quiet look of all charts, as a Vega-Lite `config`."""
    text = {"labelColor": _MUTED, "titleColor": "#323f4b", "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": "#ffffff",
        "font": "Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": "#eceff2",
            "domainColor": "#cbd2d9",
            "ticks": False,
            "labelPadding": 6,
            "titlePadding": 8,
            "labelLimit": 220,
            "labelFlush": False,
            "tickCount": 6,
        },
        "legend": {**text, "orient": "top", "title": None, "symbolType": "square", "offset": 4},
        "title": {
            "anchor": "start",
            "frame": "group",
            "fontSize": 14,
            "fontWeight": 600,
            "color": INK,
            "subtitleColor": _MUTED,
            "subtitleFontSize": 11.5,
            "subtitlePadding": 4,
            "offset": 12,
        },
    }


def chart(title: str, subtitle: str, layers: Sequence[Spec], encoding: Spec, **more: Any) -> Spec:
    """A layered chart with a title that a screen reader gets as well; `more` are further top-level keys."""
    return {
        "$schema": SCHEMA,
        "title": {"text": title, "subtitle": subtitle},
        "description": f"{title}: {subtitle}",
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": list(layers),
        "encoding": encoding,
        "config": theme(),
        **more,
    }


def stacked(charts: Iterable[Spec]) -> Spec:
    """Several charts as one, below each other."""
    parts = [{key: value for key, value in one.items() if key not in ("$schema", "config")} for one in charts]
    own = {"legend": {"color": "independent"}, "scale": {"color": "independent"}}
    return {"$schema": SCHEMA, "vconcat": parts, "spacing": 40, "resolve": own, "config": theme()}


def line(points: Iterable[Spec], *, color: str = BLUE) -> Spec:
    return {"data": {"values": list(points)}, "mark": {"type": "line", "color": color, "strokeWidth": 2}}


def guide(points: Iterable[Spec]) -> Spec:
    """A dashed line to compare a curve with."""
    mark = {"type": "line", "color": GREY, "strokeDash": [4, 4], "strokeWidth": 1}
    return {"data": {"values": list(points)}, "mark": mark}


def dots(points: Iterable[Spec], *, color: str = ORANGE, size: int = 60) -> Spec:
    mark = {"type": "point", "filled": True, "opacity": 1, "color": color, "size": size}
    return {"data": {"values": list(points)}, "mark": mark}


def share_axis(field: str, title: str) -> Spec:
    """A quantitative axis from 0 to 1."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"domain": [0, 1]}}


def cell_text(field: str, form: str, **mark: float) -> Spec:
    ink = {"condition": {"test": "datum.share > 0.55", "value": "#ffffff"}, "value": INK}
    text = {"field": field, "type": "quantitative", "format": form}
    return {"mark": {"type": "text", **mark}, "encoding": {"text": text, "color": ink}}


def columns_to_points(**columns: Iterable[Any]) -> list[Spec]:
    """Rows of named columns, floats rounded to five digits (a pixel is coarser), NaN as null.

    >>> columns_to_points(x=[0.1234567, float("nan")], y=[1, 2])
    [{'x': 0.12346, 'y': 1}, {'x': None, 'y': 2}]
    """
    return [dict(zip(columns, map(_plain, cells), strict=True)) for cells in zip(*columns.values(), strict=True)]


def thinned(progress: Floats, most: int = POINTS) -> Ints:
    """Indices of at most `most` points of a curve, evenly along `progress` (rising), both ends among them."""
    if len(progress) <= most:
        return np.arange(len(progress))
    marks = np.linspace(progress[0], progress[-1], most)
    kept = np.searchsorted(progress, marks)
    kept[-1] = len(progress) - 1
    return np.unique(kept)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
