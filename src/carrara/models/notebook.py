"""How a model's record and its charts show themselves in a notebook: plain dicts that can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import count
from typing import Any

from carrara.core.errors import CarraraError, MissingExtra
from carrara.core.figures import short, when, words
from carrara.core.html import card, figures, note, section, state, table
from carrara.core.palette import LIGHT, recoloured
from carrara.core.svg import Html, bar
from carrara.data.columns_table import distribution
from carrara.models.inline_chart import inline_svg

__all__ = ["Chart", "Charts", "Record", "charts_drawn", "gates_table", "metrics_table", "slices_table"]

_MOST_FEATURES, _MOST_SLICES, _MOST_CHARTS = 30, 20, 40
_numbers = count()


class Chart(dict[str, Any]):
    """A chart's Vega-Lite spec, which a notebook draws."""

    def _repr_html_(self) -> str:
        return card(str(self.get("description", "")).partition(":")[0], charts_drawn({"chart": self}))


class Charts(dict[str, Chart]):
    """Charts by name."""

    def __repr__(self) -> str:
        return f"<Charts: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        return card(f"{len(self)} charts", charts_drawn(self), lead=", ".join(self))


class Record(dict[str, Any]):
    """A model record."""

    def __repr__(self) -> str:
        return f"<Record of {self['model']}@{self['version']}: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        gates, metrics = self["gates"], self["metrics"]
        passed = state("gates passed", "good") if gates["passed"] else state("a gate failed", "bad")
        by = f" · trained by {short(self['trained_by'], 40)}, {when(self['started_at'])} UTC"
        learned = self["configuration"]["trainer"].get("name")
        parts = {f"{name} rows": one["rows"] for name, one in self["datasets"]["parts"].items()}
        others = {name: metrics[name] for name in ("validation", "baseline")}
        return card(
            f"{self['model']}@{self['version']}",
            figures({"Trainer": learned, "Features": len(self["features"]), **parts}),
            section("How good it is", metrics_table(metrics["test"], **others)),
            section("Gates", gates_table(gates)),
            section("Charts", charts_drawn(self["charts"])),
            section("Slices", slices_table(metrics.get("slices") or [])),
            section("Features", _features_table(self["features"])),
            lead=Html(passed + escape(by)),
        )


def metrics_table(test: Mapping[str, Any], **others: Mapping[str, Any]) -> Html:
    """Metrics as a record has them, with their 95 % intervals; beside them those of `others`, by their names."""
    beside = {name: metrics for name, metrics in others.items() if metrics}
    rows = [
        (words(name), *_measured(one), *((metrics.get(name) or {}).get("value") for metrics in beside.values()))
        for name, one in test.items()
    ]
    return table(["metric", "value", "95 % interval", *beside], rows) if rows else Html()


def interval(one: Mapping[str, Any]) -> str:
    return "" if one.get("low") is None or one.get("high") is None else f"{one['low']:.4g} – {one['high']:.4g}"


def gates_table(gates: Mapping[str, Any]) -> Html:
    """Each gate, whether it held, and why."""
    rows = [
        (state("passed", "good") if one["passed"] else state("failed", "bad"), one["gate"], one["message"])
        for one in gates.get("results") or ()
    ]
    return table(["", "gate", ""], rows) if rows else Html()


def charts_drawn(charts: Mapping[str, Mapping[str, Any]]) -> Html:
    """Charts as pictures in the colours of the card; where the library that draws them is not here, how to get it."""
    pictures = []
    for name, spec in list(charts.items())[:_MOST_CHARTS]:
        try:
            # A notebook shows a chart many times: ids are never the same.
            svg = inline_svg(f"carrara{next(_numbers)}_{name}", spec)
        except MissingExtra as error:
            return note(f"Charts: {', '.join(charts)}. {error.hint}")
        except CarraraError:
            continue
        pictures.append(recoloured(svg, lambda color: f"var(--{color}, {LIGHT[color]})"))
    return Html(f'<div class="charts">{"".join(pictures)}</div>' if pictures else "")


def slices_table(slices: Sequence[Mapping[str, Any]]) -> Html:
    """The slices with the most rows, by their first two metrics."""
    if not slices:
        return Html()
    names = list(dict.fromkeys(name for one in slices for name in one.get("metrics") or {}))[:2]
    rows = [
        (
            f"{one.get('column')} = {one.get('value')}",
            one.get("rows"),
            *(cell for name in names for cell in _measured((one.get("metrics") or {}).get(name) or {})),
        )
        for one in slices[:_MOST_SLICES]
    ]
    left = len(slices) - len(rows)
    head = ["slice", "rows", *(cell for name in names for cell in (words(name), "95 % interval"))]
    return Html(table(head, rows) + (note(f"… and {left} more") if left else ""))


def _measured(one: Mapping[str, Any]) -> tuple[Any, str]:
    return one.get("value"), interval(one)


def _features_table(features: Sequence[Mapping[str, Any]]) -> Html:
    ordered = sorted(features, key=_importance, reverse=True)
    most = max(map(_importance, ordered), default=0.0) or 1.0
    rows = [
        (one["name"], one.get("importance"), bar(_importance(one) / most), distribution(one["statistics"]))
        for one in ordered[:_MOST_FEATURES]
    ]
    left = len(ordered) - len(rows)
    head = ["feature", "importance", "", "when trained"]
    return Html(table(head, rows) + (note(f"… and {left} more") if left else ""))


def _importance(feature: Mapping[str, Any]) -> float:
    return feature.get("importance") or 0.0
