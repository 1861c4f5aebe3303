"""Traffic: which version of an endpoint answers a request, by shares, sticky by a key of the request."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SPACE = float(2**64)


@dataclass(frozen=True)
class Traffic:
    """`shares` of versions besides the primary, which has the rest; `shadows` are asked as well and never answer.

    A request is led by the values of its inputs `by` in its first row, so that the same key always meets the same
    version, in every process and after every restart. A request that lacks one of them is led by chance.
    """

    shares: tuple[tuple[int, float], ...] = ()
    by: tuple[str, ...] = ()
    shadows: tuple[int, ...] = ()
    salt: str = ""
    """What makes the draws of one split independent of another's."""

    def version(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> int | None:
        """The version that should answer; None stands for the primary."""
        if not self.shares:
            return None
        key = self._key(inputs)
        place = random.random() if key is None else draw(self.salt, key)
        for version, share in self.shares:
            if place < share:
                return version
            place -= share
        return None

    def _key(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> list[str] | None:
        if not self.by or any(name not in inputs or not inputs[name].size for name in self.by):
            return None
        return [_text(inputs[name].flat[0]) for name in self.by]


def draw(salt: str, key: Sequence[str]) -> float:
    """A number in [0, 1) that a key always has under one salt.

    >>> draw("late", ["d1"]) == draw("late", ["d1"]) != draw("late", ["d2"])
    True
    """
    digest = hashlib.blake2b("\x1f".join([salt, *key]).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _SPACE


def _text(value: Any) -> str:
    """The same text for the same key, whether it came as bytes, as a text, or as a number of any type."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
