"""Small drawings that need no script: places of bars, lines, axes and boxes, which are then drawn as SVG.

All functions are pure: figures in, places out, in the units of the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Point = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    said: str = ""


@dataclass(frozen=True)
class Line:
    """A line in a chart: `points` is what an SVG polyline takes; `last` is where its name stands."""

    name: str
    points: str
    last: Point
    number: int = 0


@dataclass(frozen=True)
class Curves:
    """Lines over shared axes; ticks are (place, text)."""

    width: float
    height: float
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    said: str


def bars(counts: Sequence[float], width: float = 120, height: float = 28, said: Sequence[str] = ()) -> list[Bar]:
    """The bars of a histogram, side by side; one that is not empty is at least a pixel high.

    >>> [(bar.x, bar.height) for bar in bars([1, 2], width=10, height=10)]
    [(0.0, 5.0), (5.0, 10.0)]
    """
    values = [float(c or 0) if math.isfinite(float(c or 0)) else 0.0 for c in counts]
    tallest = max(values, default=0.0)
    if tallest <= 0:
        return []
    step = width / len(values)
    heights = [max(value / tallest * height, 1.0) if value else 0.0 for value in values]
    return [
        Bar(round(i * step, 2), round(height - h, 2), round(step * 0.86, 2), round(h, 2), said[i] if said else "")
        for i, h in enumerate(heights)
    ]


def curves(
    lines: Mapping[str, Sequence[tuple[Any, float | None]]],
    *,
    width: float = 640,
    height: float = 200,
    from_zero: bool = False,
    ends: tuple[Any, Any] | None = None,
    said: str = "",
) -> Curves | None:
    """Lines over numbers or times; points without a value are left out. None where there is nothing to draw.

    The axis is as long as the lines, or from one of `ends` to the other.
    """
    kept = {name: [(x, y) for x, y in points if y is not None and math.isfinite(y)] for name, points in lines.items()}
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    if not ys:
        return None
    timed = isinstance(xs[0], datetime)
    numbers = [_number(x) for x in (*xs, *(ends or ()))]
    x_low, x_high = min(numbers), max(numbers)
    y_marks = nice_ticks(0.0 if from_zero else min(ys), max(ys), 2 if height < 100 else 4)
    y_low, y_high = min(y_marks[0], min(ys)), max(y_marks[-1], max(ys))

    def place(x: Any, y: float) -> Point:
        right = (_number(x) - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low) if y_high > y_low else 0.5
        return round(right * width, 1), round((1 - up) * height, 1)

    drawn = []
    for number, (name, points) in enumerate(kept.items()):
        places = [place(x, y) for x, y in points]
        if places:
            drawn.append(Line(name, " ".join(f"{x},{y}" for x, y in places), places[-1], number))
    marks = (
        _time_ticks(x_low, x_high, 2 if width < 400 else 4)
        if timed
        else [(m, tick_text(m)) for m in nice_ticks(x_low, x_high, 6)]
    )
    x_ticks = tuple((place(mark, y_low)[0], text) for mark, text in marks if x_low <= mark <= x_high)
    y_ticks = tuple((place(x_low, mark)[1], tick_text(mark)) for mark in y_marks)
    return Curves(width, height, tuple(drawn), x_ticks, y_ticks, said)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers that cover a range.

    >>> nice_ticks(0, 9.3, 4), nice_ticks(0.61, 0.78, 4), nice_ticks(3, 3, 4)
    ([0.0, 5.0, 10.0], [0.6, 0.65, 0.7, 0.75, 0.8], [2.0, 3.0, 4.0])
    """
    if high <= low:
        return [low - 1.0, float(low), low + 1.0]
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A figure for an axis.

    >>> tick_text(0.65), tick_text(1500000.0), tick_text(2000)
    ('0.65', '1.5 M', '2,000')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):g}{unit}"
    return f"{value:,g}" if abs(value) >= 1_000 else f"{value:g}"


def _time_ticks(low: float, high: float, parts: int) -> list[tuple[float, str]]:
    """The times at the ends of equal parts of a range, as days, or with hours where it is short."""
    form = "%m-%d %H:%M" if high - low < 3 * 86_400 else "%Y-%m-%d"
    marks = [low + (high - low) * part / parts for part in range(parts + 1)] if high > low else [low]
    texts = [datetime.fromtimestamp(mark, UTC).strftime(form) for mark in marks]
    return list(zip(marks, texts, strict=True))


def _number(x: Any) -> float:
    return x.timestamp() if isinstance(x, datetime) else float(x)


@dataclass(frozen=True)
class Axis:
    name: str
    x: float
    low: str
    high: str


@dataclass(frozen=True)
class Thread:
    """One trial across the axes; `strength` from 0, the worst, to 1, the best."""

    points: str
    strength: float
    said: str
    best: bool


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates: an axis a parameter and one for the value, a thread a trial."""

    width: float
    height: float
    axes: tuple[Axis, ...]
    threads: tuple[Thread, ...]


def parallel(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], value: str, *, width: float = 900, height: float = 260
) -> Parallel | None:
    """Parallel coordinates of trials by their parameters; `value`, the last axis, is better the lower it is."""
    axes_names = [*names, value]
    whole = [row for row in rows if all(row.get(name) is not None for name in axes_names)]
    if not whole:
        return None
    scales = [_scale([row[name] for row in whole]) for name in axes_names]
    step = width / max(len(axes_names) - 1, 1)
    axes = tuple(
        Axis(n, round(i * step, 1), low, high)
        for i, (n, (_, low, high)) in enumerate(zip(axes_names, scales, strict=True))
    )
    best = min(row[value] for row in whole)
    threads = []
    for row in sorted(whole, key=lambda one: -one[value]):
        heights = [scale(row[name]) for name, (scale, _, _) in zip(axes_names, scales, strict=True)]
        points = " ".join(f"{axis.x},{round((1 - h) * height, 1)}" for axis, h in zip(axes, heights, strict=True))
        said = ", ".join(
            f"{name} {row[name]:.4g}" if isinstance(row[name], float) else f"{name} {row[name]}" for name in axes_names
        )
        threads.append(Thread(points, round(1 - heights[-1], 3), said, row[value] == best))
    return Parallel(width, height, axes, tuple(threads))


def _scale(values: Sequence[Any]) -> tuple[Any, str, str]:
    """From a value to 0…1, by size or, for texts, by their order; with the texts of both ends."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        wide = low > 0 and high / low > 50  # Learning rates and the like are tried by magnitude.

        def place(value: float) -> float:
            if high == low:
                return 0.5
            return float(math.log(value / low) / math.log(high / low) if wide else (value - low) / (high - low))

        return place, f"{low:.4g}", f"{high:.4g}"
    order = sorted({str(value) for value in values})
    return lambda value: (order.index(str(value)) + 0.5) / len(order), order[0], order[-1]
