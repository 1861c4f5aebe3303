"""Who is working, and names for runs and predictions: UUIDv7 (RFC 9562), which sort by time."""

from __future__ import annotations

import getpass
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_acting: ContextVar[str | None] = ContextVar("acting", default=None)


def new_id() -> str:
    """A UUIDv7: 48 bits of milliseconds, then random bits.

    >>> import uuid
    >>> first, second = new_id(), new_id()
    >>> uuid.UUID(first).version, first != second
    (7, True)
    """
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """`count` UUIDv7 of this moment."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    head, noise = f"{stamp[:8]}-{stamp[8:]}-7", _NOISE.randbytes(10 * count).hex()
    cut = (noise[start : start + 20] for start in range(0, 20 * count, 20))
    return [f"{head}{one[:3]}-{_VARIANT[one[3]]}{one[4:7]}-{one[7:19]}" for one in cut]


_NOISE = random.Random()
"""Of our own, so that no seed that a user sets makes names come again. Unlike `os.urandom` it keeps the interpreter's
lock, for which a busy server may have to wait milliseconds."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_NOISE.seed)

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The first digit of the fourth group holds two random bits beside the variant."""


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
