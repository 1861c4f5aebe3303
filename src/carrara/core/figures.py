"""Figures, shares and times as people read them: on pages and in notebooks."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any


def number(value: Any) -> str:
    """A figure to four digits; a dash where there is none.

    >>> number(0.123456), number(1234567), number(None), number(float("nan")), number(True)
    ('0.1235', '1,234,567', '–', '–', 'yes')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def share(value: Any) -> str:
    """A share of one as per cent.

    >>> share(0.1234), share(None)
    ('12.3 %', '–')
    """
    return f"{value:.1%}".replace("%", " %") if isinstance(value, int | float) and math.isfinite(value) else "–"


def when(value: Any) -> str:
    """A time in UTC, to the second."""
    time = as_time(value)
    return "–" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def ago(value: Any, now: datetime) -> str:
    """How long ago a time is, or how soon.

    >>> ago(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
    '2 days ago'
    """
    time = as_time(value)
    if time is None:
        return "–"
    seconds = (now - time).total_seconds()
    for unit, length in (("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count = int(abs(seconds) // length)
        if count:
            text = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "now"


def as_time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            return None
    return None


def words(name: Any) -> str:
    return str(name).replace("_", " ")


def short(value: Any, most: int = 80) -> str:
    """A text that fits into a line.

    >>> short("abcdef", 4)
    'abc…'
    """
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def cell(value: Any) -> str:
    """A value of a row of data in a table for people: figures to four digits, times without what all of them share.

    >>> cell(0.123456), cell("2024-01-20T06:30:00+00:00"), cell([0.25, 0.75]), cell(2013)
    ('0.1235', '2024-01-20 06:30:00', '0.25, 0.75', '2013')
    """
    if isinstance(value, list | tuple):
        return short(", ".join(map(cell, value)), 60)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value[:4].isdigit() and "T" in value and (time := as_time(value)) is not None:
        return when(time)
    return short(number(value), 60)
