"""The protocol of a transport, and what all of them need to know.

To add one: a class with these members in a file of its own; `server.py` starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from carrara.serving.access_log import Subject

MAX_MESSAGE_BYTES = 64 << 20

MOST_WAITING = 4096
"""So many requests may wait for their turn, and more are refused at once."""

MOST_WAITING_BYTES = 512 << 20
LONGEST_WAIT_SECONDS = 10.0

CANCELLED, RESOURCE_EXHAUSTED, UNAVAILABLE = 1, 8, 14
OVERLOADED = "the server is overloaded; ask again in a moment"


class Result(NamedTuple):
    """What one call ends with: `data`, or a status `code` other than 0 and its `text`, or what gives that `later`."""

    data: bytes = b""
    code: int = 0
    text: str = ""
    later: Callable[[], Result] | None = None
    """Work that takes long, and gives the result in the end: others are not kept waiting for it."""
    subject: Subject | None = None
    again: bool = False
    """Whether the client is told to ask again in `RETRY_SECONDS`."""
    loading: str = ""
    """The endpoint that is on its way into memory, where that is why there is no answer yet."""


Handler = Callable[[Sequence[tuple[str, bytes]]], list[Result]]
"""Answers calls (method path, message) that came in together, in their order."""


Stream = Callable[[Iterable[bytes], Callable[[], bool]], Iterator[bytes]]
"""Answers a stream of messages with one, as long as the function that it is given says that the client is there."""


def address_of(host: str, port: int) -> str:
    """
    >>> address_of("::1", 8500), address_of("127.0.0.1", 8500)
    ('[::1]:8500', '127.0.0.1:8500')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Transport(Protocol):
    """A listening socket; `port` is known from the start."""

    port: int

    def start(self) -> None: ...

    def stop(self, grace_seconds: float) -> None:
        """Refuse new work, finish what is under way within the grace, and close."""
