"""Small drawings as SVG: the same on pages and in notebooks. Colours come from the style sheet around them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from carrara.core.drawings import Curves, Line, bars

_LONG = 500
"""From this width on a small screen shows a drawing at less than half of its size."""


class Html(str):
    """Text that is HTML already: templates, which know it by `__html__`, do not escape it again."""

    __slots__ = ()

    def __html__(self) -> Html:
        return self


def spark(counts: Sequence[float], said: str = "histogram", look: str = "") -> Html:
    """A histogram as high as a line of text; nothing where nothing is counted."""
    drawn = "".join(f'<rect x="{b.x}" y="{b.y}" width="{b.width}" height="{b.height}"/>' for b in bars(counts))
    if not drawn:
        return Html()
    return Html(
        f'<svg class="spark {look}" viewBox="0 0 120 28" width="120" height="28" role="img"'
        f' aria-label="{escape(said)}">{drawn}</svg>'
    )


def bar(part: float, look: str = "") -> Html:
    """A share from 0 to 1 of a whole."""
    return _bar(0, 0.0, min(max(part * 100, 0.0), 100.0), look)


def signed_bar(part: float) -> Html:
    """From -1 to 1, from the middle: what makes larger to the right, in the second colour."""
    width = min(max(part, -1.0), 1.0) * 50
    return _bar(-50, min(width, 0.0), abs(width), "second" if width > 0 else "")


def _bar(left: int, x: float, width: float, look: str) -> Html:
    return Html(
        f'<svg class="bar" viewBox="{left} 0 100 8" width="100" height="8" aria-hidden="true"'
        f' preserveAspectRatio="none"><rect class="ground" x="{left}" width="100" height="8"/>'
        f'<rect class="{look}" x="{x:.1f}" width="{width:.1f}" height="8"/></svg>'
    )


def interval_bar(value: float, low: float, high: float, ends: tuple[float, float], look: str = "") -> Html:
    """A value with its interval between two ends, and a line at zero where that is between them."""
    span = (ends[1] - ends[0]) or 1.0
    at, start, stop, zero = ((one - ends[0]) / span * 116 + 2 for one in (value, low, high, 0.0))
    middle = f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="12"/>' if ends[0] <= 0 <= ends[1] else ""
    return Html(
        f'<svg class="interval {look}" viewBox="0 0 120 12" width="120" height="12" aria-hidden="true">{middle}'
        f'<line class="whisker" x1="{start:.1f}" x2="{stop:.1f}" y1="6" y2="6"/>'
        f'<circle class="dot" cx="{at:.1f}" cy="6" r="3"/></svg>'
    )


def lines(drawn: Curves, named: bool = True, alone: bool = False) -> Html:
    """Lines over their axes, with a key where there are several, or one that is to be named though it is `alone`."""
    grid = "".join(f'<line x1="0" x2="{drawn.width}" y1="{y}" y2="{y}"/>' for y, _ in drawn.y_ticks)
    ticks = "".join(f'<text x="-8" y="{y + 4}" text-anchor="end">{escape(text)}</text>' for y, text in drawn.y_ticks)
    under = drawn.height + 20
    ticks += "".join(
        f'<text x="{x}" y="{under}" text-anchor="middle">{escape(text)}</text>' for x, text in drawn.x_ticks
    )
    size = f"{drawn.width + 84:g} {drawn.height + 40:g}"
    width, height = size.split()
    return Html(
        (_key(drawn.lines) if named and (alone or len(drawn.lines) > 1) else "")
        + f'<svg class="{"long" if drawn.width > _LONG else ""}" viewBox="-56 -12 {size}" width="{width}"'
        f' height="{height}" role="img"'
        f' aria-label="{escape(drawn.said)}">'
        f'<g class="grid">{grid}</g>{ticks}{"".join(map(_curve, drawn.lines))}</svg>'
    )


def _curve(line: Line) -> str:
    x, y = line.last
    return (
        f'<polyline class="curve c{line.number}" points="{line.points}"><title>{escape(line.name)}</title></polyline>'
        f'<circle class="dot c{line.number}" cx="{x}" cy="{y}" r="3"/>'
    )


def _key(shown: Sequence[Line]) -> str:
    items = "".join(
        '<li><svg viewBox="0 0 14 4" width="14" height="4" aria-hidden="true">'
        f'<rect class="dot c{one.number}" width="14" height="4" rx="2"/></svg>{escape(one.name)}</li>'
        for one in shown
    )
    return f'<ul class="key">{items}</ul>'
