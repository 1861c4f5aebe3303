"""Draws pages: Jinja templates with everything escaped, and the figures, times and marks that they use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from carrara.core.drawings import bars
from carrara.core.figures import ago, cell, number, share, short, when, words
from carrara.core.plugins import require
from carrara.core.svg import bar, lines, signed_bar, spark
from carrara.ui.page import address

PURPOSE = "the web page"
_STATES = {
    "complete": "good",
    "fresh": "good",
    "valid": "good",
    "passed": "good",
    "live": "good",
    "approved": "good",
    "overridden": "warn",
    "rejected": "bad",
    "running": "busy",
    "stale": "warn",
    "warning": "warn",
    "due": "warn",
    "stopped": "quiet",
    "absent": "quiet",
    "late": "bad",
    "failed": "bad",
    "lost": "bad",
    "error": "bad",
    "firing": "bad",
}


class Renderer:
    """The templates of `ui/templates`, compiled once."""

    def __init__(self) -> None:
        jinja2 = require("jinja2", extra="ui", purpose=PURPOSE)
        folder = files("carrara.ui") / "templates"
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.filters.update(
            number=number,
            share=share,
            when=when,
            ago=ago,
            words=words,
            kind=kind,
            short=short,
            tail=tail,
            mark=mark,
            plain=plain,
            cell=cell,
        )
        drawings = {"bars": bars, "bar": bar, "lines": lines, "signed_bar": signed_bar, "spark": spark}
        self._environment.globals.update(address=address, **drawings)

    def __call__(self, template: str, **values: Any) -> str:
        drawn: str = self._environment.get_template(template).render(**values)
        return drawn


def tail(value: Any, most: int) -> str:
    """The end of a text: of an address that is what tells it from others.

    >>> tail("package:data/flights.csv", 12)
    '…flights.csv'
    """
    text = str(value)
    return text if len(text) <= most else "…" + text[-(most - 1) :]


def mark(state: Any) -> str:
    """The look of a state; the word itself always stands beside it."""
    return _STATES.get(str(state), "quiet")


def plain(value: Any) -> str:
    """A setting as it was given: a seed or a learning rate is not rounded."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None or value == "" else str(value)


def kind(value: Any) -> str:
    """How a nested value is drawn: as a mapping, a list, or as it is."""
    if isinstance(value, Mapping):
        return "mapping"
    return "list" if isinstance(value, Sequence) and not isinstance(value, str | bytes) else "scalar"
