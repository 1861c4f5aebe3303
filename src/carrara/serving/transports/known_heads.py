"""Heads of requests that have been read before: a client sends the same bytes again and again, but for the body."""

from __future__ import annotations

from typing import NamedTuple

from carrara.serving.access_log import Headers
from carrara.serving.protocols.http import HttpRequest

_MOST = 1024
_MOST_BYTES = 2048
_END = b"\r\n\r\n"
_READ_BY_LLHTTP = ("transfer-encoding", "upgrade", "expect")
"""Headers that ask for more than a body of a known length."""


class KnownHead(NamedTuple):
    """A head as it was read, and the length of the body that it announces, on a connection that stays open."""

    method: str
    path: str
    headers: Headers
    query: str
    size: int

    @property
    def request(self) -> HttpRequest:
        return HttpRequest(self.method, self.path, b"", self.headers, self.query)


class KnownHeads:
    """What llhttp made of heads, by their bytes: equal bytes mean the same. It belongs to one thread."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def find(self, data: bytes) -> tuple[KnownHead, int] | None:
        """The head that `data` begins with, and where its body begins, where `data` is that one request and no more."""
        start = data.find(_END) + len(_END)
        known = self._heads.get(data[:start])
        return (known, start) if known is not None and len(data) == start + known.size else None

    def learn(self, data: bytes, request: HttpRequest, size: int) -> None:
        """Keep the head of a request that was all there is of `data`, and after which its connection stays open."""
        start = len(data) - size
        if start > _MOST_BYTES or data.find(_END) + len(_END) != start:
            return
        if any(request.headers.get(name) is not None for name in _READ_BY_LLHTTP):
            return
        if len(self._heads) >= _MOST:
            self._heads.clear()
        self._heads[data[:start]] = KnownHead(request.method, request.path, request.headers, request.query, size)
