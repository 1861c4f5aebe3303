"""What one call of a wire asks: either bytes at once, or predictions and how their answers are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from carrara.serving.requests import Answer, Request


@dataclass(frozen=True)
class Asked:
    """The predictions that a call needs, of one version, and what makes its reply of them."""

    requests: tuple[Request, ...]
    encode: Callable[[Sequence[Answer]], bytes]


Method = Callable[[bytes], Asked | bytes]
"""Takes a message of one gRPC method."""
