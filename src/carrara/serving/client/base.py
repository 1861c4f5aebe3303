"""The protocol of a wire, and what a server may say.

To add a wire: a class with these members in a file of its own, and its scheme in `client.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from carrara.core.errors import CarraraError, UnavailableError

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Array]


class Refused(CarraraError):
    """A server's answer to a request that it did not carry out; `code` is gRPC's name of the status."""

    def __init__(self, code: str, text: str, endpoint: str) -> None:
        super().__init__(f"'{endpoint}': {text}")
        self.code = code


class Busy(UnavailableError):
    """A server that is away, overloaded, or late; asking again in `seconds` may help."""

    def __init__(self, code: str, text: str, seconds: float | None = None) -> None:
        super().__init__(text, hint="Ask again in a moment.")
        self.code, self.seconds = code, seconds


class Wire(Protocol):
    """A way to a server; safe to use from many threads."""

    def predict(
        self, endpoint: str, inputs: Columns, *, version: int | None, signature_name: str, seconds: float
    ) -> tuple[int, dict[str, Array]]:
        """The version that answered, and its outputs; Refused or Busy within `seconds`."""

    def close(self) -> None: ...
