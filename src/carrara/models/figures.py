"""Figures, times and names of a record as its pages show them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any


def number(value: Any) -> str:
    """A figure to four digits, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "—" if value is None else str(value)
    if not math.isfinite(value):
        return "—"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def exact(value: Any) -> str:
    """A scalar as the record has it: a seed or a learning rate is not rounded, nor a year given a comma."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "—" if value is None else str(value)


def share(value: Any) -> str:
    """A share in percent, or a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "—"
    return f"{value:.1%}"


def when(value: Any) -> str:
    """A time for people, in UTC and to the second; anything else as it is."""
    try:
        time = time_of(value)
    except (TypeError, ValueError):
        return "—" if value is None else str(value)
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time.tzinfo else f"{time:%Y-%m-%d %H:%M:%S}"


def words(name: Any) -> str:
    """A name as people write it."""
    return str(name).replace("_", " ")


def time_of(value: Any) -> datetime:
    """A time, or its text; ValueError or TypeError for what is none."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
