"""The colours of pages and cards, in the light and in the dark, and which of them a colour of a chart stands for."""

from __future__ import annotations

import re
from collections.abc import Callable

LIGHT = {
    "page": "#fbfbfa",
    "raised": "#ffffff",
    "ink": "#1c2127",
    "muted": "#5d6772",
    "line": "#e6e7e4",
    "soft": "#f1f2ef",
    "accent": "#2a67a8",
    "accent-soft": "#e6eef7",
    "good": "#1a7046",
    "warn": "#8a5a00",
    "bad": "#b3261e",
    "busy": "#2a67a8",
    "good-soft": "#e4f3ea",
    "warn-soft": "#faf0db",
    "bad-soft": "#fbe9e7",
    "second": "#b8560b",
}
DARK = {
    "page": "#14171a",
    "raised": "#1a1e22",
    "ink": "#e6e8ea",
    "muted": "#9ba5ae",
    "line": "#2a3036",
    "soft": "#20252a",
    "accent": "#7fb2e5",
    "accent-soft": "#1d2c3c",
    "good": "#6cc596",
    "warn": "#dfb25a",
    "bad": "#f0948c",
    "busy": "#7fb2e5",
    "good-soft": "#17301f",
    "warn-soft": "#33290f",
    "bad-soft": "#3a1e1c",
    "second": "#e59a5c",
}
THEMES = {"light": LIGHT, "dark": DARK}

# Records keep charts in one palette: that of `evaluation.charts.vega`, and of what charts of other rooms add to it.
_STANDS_FOR = {
    "#ffffff": "page",
    "#1f2933": "ink",
    "#52606d": "muted",
    "#323f4b": "muted",
    "#9aa3ad": "muted",
    "#9aa5b1": "muted",
    "#eceff2": "line",
    "#cbd2d9": "line",
    "#2f6fb3": "accent",
    "#eef4fa": "accent-soft",
    "#d9730d": "second",
}


def recoloured(text: str, color: Callable[[str], str]) -> str:
    """A chart's spec or picture with each of its colours as `color` has it, by its name.

    >>> recoloured('{"fill": "#FFFFFF", "stroke": "#123456"}', DARK.__getitem__)
    '{"fill": "#14171a", "stroke": "#123456"}'
    """

    def other(found: re.Match[str]) -> str:
        name = _STANDS_FOR.get(found[0].lower())
        return found[0] if name is None else color(name)

    return re.sub(r"#[0-9a-fA-F]{6}\b", other, text)
