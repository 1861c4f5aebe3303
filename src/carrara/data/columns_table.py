"""The columns of a table as a notebook shows them: what each holds in figures, with its distribution drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from carrara.core.figures import share, short
from carrara.core.html import note, table
from carrara.core.svg import Html, spark

_MOST, _BARS = 60, 20
_HEAD = ("column", "type", "nulls", "distinct", "mean", "least", "most", "distribution")


def columns_table(statistics: Mapping[str, Mapping[str, Any]]) -> Html:
    """A row for each column of summaries as `Statistics.summary` gives them."""
    shown = list(statistics.items())[:_MOST]
    rows = [
        (
            name,
            held["type"],
            share(held["nulls"] / held["rows"]) if held.get("rows") else None,
            held["distinct"],
            held.get("mean"),
            _end(held.get("min")),
            _end(held.get("max")),
            distribution(held),
        )
        for name, held in shown
    ]
    left = len(statistics) - len(shown)
    return Html(table(_HEAD, rows) + (note(f"… and {left:,} columns more") if left else ""))


def distribution(held: Mapping[str, Any]) -> Html:
    """Bars of numbers and times, the commonest values of texts."""
    if held.get("histogram"):
        return spark(held["histogram"]["counts"])
    if held.get("quantiles"):
        return spark(_by_width(held["quantiles"]))
    said = ", ".join(f"{short(one['value'], 24)} {share(one['share'])}" for one in (held.get("top") or [])[:3])
    return Html(f'<span class="small">{escape(said)}</span>')


def _by_width(quantiles: Sequence[float]) -> list[float]:
    """The share of rows in each of as many stretches of equal width as a histogram has, by evenly spaced quantiles."""
    edges = np.linspace(quantiles[0], quantiles[-1], _BARS + 1)
    below = np.interp(edges, quantiles, np.linspace(0, 1, len(quantiles)))
    shares: list[float] = np.diff(below).tolist()
    return shares if quantiles[-1] > quantiles[0] else []


def _end(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else str(value)[:16]
