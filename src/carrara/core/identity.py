"""Who is working, and names for runs and predictions: UUIDv7 (RFC 9562), which sort by time."""

from __future__ import annotations

import getpass
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_acting: ContextVar[str | None] = ContextVar("acting", default=None)


def new_id() -> str:
    """A UUIDv7: 48 bits of milliseconds, then random bits.

    >>> first, second = new_id(), new_id()
    >>> uuid.UUID(first).version, first != second
    (7, True)
    """
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """`count` UUIDv7 of this moment."""
    stamp = time.time_ns() // 1_000_000 << 80
    noise = os.urandom(10 * count)
    made = []
    for start in range(0, 10 * count, 10):
        low = int.from_bytes(noise[start : start + 10], "big")
        value = stamp | 0x7 << 76 | (low >> 64 & 0xFFF) << 64 | 0b10 << 62 | low & (1 << 62) - 1
        made.append(str(uuid.UUID(int=value)))
    return made


def current_user() -> str:
    """Who works: the holder of the token whom a server acts for; else who runs this process, which is CARRARA_USER
    where a scheduler sets it, else the account's name."""
    return _acting.get() or os.environ.get("CARRARA_USER") or getpass.getuser()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Everything that the block records is recorded as done by `name`: a server acts for whom a token belongs to.

    >>> with acting_as("ada"):
    ...     current_user()
    'ada'
    """
    before = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(before)
