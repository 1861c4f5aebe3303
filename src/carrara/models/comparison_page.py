"""The page of a comparison: differences with intervals, slices that win and lose, rows that differ."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from carrara.core.figures import cell, short
from carrara.core.plugins import require
from carrara.models.figures import exact, number, share, when, words
from carrara.models.inline_chart import inline_markup

_MOST_FIELDS = 60


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """The HTML page of a comparison as plain data; every value in it is escaped."""
    jinja2 = require("jinja2", extra="report", purpose="the page of a comparison")
    loader = jinja2.FunctionLoader(lambda name: files("carrara.models").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, exact=exact, share=share, when=when, words=words, cell=cell, short=short)
    # Their metrics stand above, with intervals.
    changed = {
        other["version"]: [one for one in other["configuration"] if not one["field"].startswith("metrics")]
        for other in comparison["others"]
    }
    charts = {other["version"]: inline_markup(other["version"], _forest(other)) for other in comparison["others"]}
    page: str = environment.get_template("comparison.html.j2").render(
        comparison=comparison, charts=charts, changed=changed, most_fields=_MOST_FIELDS
    )
    return page


def _forest(other: Mapping[str, Any]) -> dict[str, Any]:
    """Each metric's difference relative to its interval's own size, so that all fit one axis."""
    values = [
        {
            "metric": words(name),
            "difference": pair["difference"],
            "low": pair["low"],
            "high": pair["high"],
            "differs": pair["differs"],
        }
        for name, pair in other["metrics"].items()
        if pair["low"] is not None
    ]
    colour = {"condition": {"test": "datum.differs", "value": "#2f6fb3"}, "value": "#9aa5b1"}
    rows = {"field": "metric", "type": "nominal", "sort": [one["metric"] for one in values], "title": None}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": values},
        "facet": {"row": {**rows, "header": {"labelAngle": 0, "labelAlign": "left", "labelFontSize": 12}}},
        "resolve": {"scale": {"x": "independent"}},
        "spec": {
            "width": 420,
            "height": 26,
            "layer": [
                {"mark": {"type": "rule", "color": "#cbd2d9"}, "encoding": {"x": {"datum": 0}}},
                {
                    "mark": {"type": "rule", "strokeWidth": 3},
                    "encoding": {
                        "x": {"field": "low", "type": "quantitative", "title": None, "axis": {"tickCount": 5}},
                        "x2": {"field": "high"},
                        "color": colour,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                    "encoding": {"x": {"field": "difference", "type": "quantitative"}, "color": colour},
                },
            ],
        },
        "config": {
            "view": {"stroke": None},
            "font": "Helvetica, Arial, sans-serif",
            "background": "#ffffff",
            "axis": {"labelColor": "#52606d", "domainColor": "#cbd2d9", "gridColor": "#eceff2", "ticks": False},
            "header": {"labelColor": "#323f4b"},
        },
    }
