"""Time as Carrara keeps it: timezone-aware UTC, microseconds; durations in the short form `6h`, `7d`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from carrara.core.errors import CarraraError, ConfigurationError

Clock = Callable[[], datetime]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def duration(text: str) -> timedelta:
    """The duration that a short form stands for.

    >>> duration("6h")
    datetime.timedelta(seconds=21600)
    >>> duration("1 month")
    Traceback (most recent call last):
    carrara.core.errors.ConfigurationError: '1 month' is not a duration
      Write a number and one of s, m, h, d, w, e.g. 6h or 7d.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"'{text}' is not a duration", hint="Write a number and one of s, m, h, d, w, e.g. 6h or 7d."
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def microseconds(value: timedelta | datetime) -> int:
    """A duration, or a time since the epoch, in whole microseconds.

    >>> microseconds(duration("1s")), microseconds(parse_time("1970-01-01T00:00:01Z"))
    (1000000, 1000000)
    """
    delta = value - _EPOCH if isinstance(value, datetime) else value
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def parse_time(text: str) -> datetime:
    """A time from RFC 3339 text with a zone, or a plain date, which is its midnight in UTC.

    >>> parse_time("2013-10-01T06:00:00-04:00").isoformat()
    '2013-10-01T10:00:00+00:00'
    >>> parse_time("2013-10-01").isoformat()
    '2013-10-01T00:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CarraraError(f"'{text}' is not a time", hint="Write it as 2013-10-01T06:00:00Z.") from None
    if time.tzinfo is None:
        if len(text) > len("2013-10-01"):
            raise CarraraError(
                f"the time '{text}' names no zone",
                hint=f"Write {text}Z for UTC, or {text}-04:00 for an offset.",
            )
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC)


def long_text(seconds: float) -> str:
    """A length of time for people.

    >>> long_text(59_929), long_text(90)
    ('16.6 hours', '90.0 seconds')
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"
