"""How objects show themselves in a notebook: as a card that needs no script, no network and no library.

Everything in it is escaped, and it is drawn for the theme that the notebook is in, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from carrara.core.figures import number, short, when
from carrara.core.palette import DARK, LIGHT
from carrara.core.svg import Html

_MOST_TEXT = 300
_IN_THE_DARK = (
    'body[data-jp-theme-light="false"] .carrara',
    "body.vscode-dark .carrara",
    "html[theme=dark] .carrara",
    "html[data-theme=dark] .carrara",
)
_BY_THE_SYSTEM = "body:not([data-jp-theme-light], [data-vscode-theme-kind]) .carrara"
"""Where a notebook does not say its theme, such as in a page that was made of one."""


def card(title: str, *parts: str, lead: str = "") -> str:
    """A title, a line below it, and parts that are HTML already, in a style of their own."""
    under = f'<p class="lead">{lead if isinstance(lead, Html) else escape(lead)}</p>' if lead else ""
    return f'<div class="carrara"><style>{_style()}</style><h4>{escape(short(title))}</h4>{under}{"".join(parts)}</div>'


def section(title: str, *parts: str) -> Html:
    """A part of a card under a title of its own; nothing where the parts hold nothing."""
    held = "".join(parts)
    return Html(f"<h5>{escape(title)}</h5>{held}" if held else "")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Html:
    """Rows under their columns; numbers stand under each other.

    >>> table(["<n>"], [[1_000]]).partition("<tbody>")[2]
    '<tr><td class="n">1,000</td></tr></tbody></table>'
    """
    held = [list(row) for row in rows]
    looks = ['class="n"' if _is_number(held, place) else "" for place in range(len(columns))]
    head = "".join(
        f"<th {look}>".replace(" >", ">") + f"{escape(c)}</th>" for c, look in zip(columns, looks, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td {k}>".replace(" >", ">") + f"{cell(v)}</td>" for v, k in zip(row, looks, strict=True))
        + "</tr>"
        for row in held
    )
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def figures(values: Mapping[str, Any]) -> Html:
    """Some figures that say the most, large, each under its name."""
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{cell(value)}</dd></div>" for name, value in values.items())
    return Html(f"<dl>{shown}</dl>")


def state(word: str, look: str = "quiet") -> Html:
    """A word with a dot of a colour: good, warn, bad, busy or quiet."""
    return Html(f'<span class="state {look}">{escape(word)}</span>')


def note(said: str) -> Html:
    return Html(f'<p class="lead">{escape(said)}</p>')


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], lead: str = "") -> str:
    """A card that is one table."""
    return card(title, table(columns, rows), lead=lead)


def cell(value: Any) -> str:
    if isinstance(value, Html):
        return value
    if isinstance(value, datetime):
        return when(value)
    return escape(short(number(value), _MOST_TEXT)) if value is not None else "–"


def _is_number(rows: Sequence[Sequence[Any]], place: int) -> bool:
    held = [row[place] for row in rows if row[place] is not None]
    return bool(held) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in held)


@cache
def _style() -> str:
    """The style sheet of cards, with the colours of both themes."""
    dark = ", ".join(_IN_THE_DARK)
    return (
        f".carrara {{ {_variables(LIGHT)} }}"
        f"@media (prefers-color-scheme: dark) {{ {_BY_THE_SYSTEM} {{ {_variables(DARK)} }} }}"
        f"{dark} {{ {_variables(DARK)} }}"
    ) + (files("carrara.core") / "card.css").read_text("utf-8")


def _variables(colors: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {color};" for name, color in colors.items())
