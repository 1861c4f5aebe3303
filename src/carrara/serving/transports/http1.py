"""HTTP/1.1 on one connection: requests in, and replies out in the order of what they answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

from carrara.serving.protocols.http import HttpRequest, Reply
from carrara.serving.protocols.problem import problem_of
from carrara.serving.transports.base import address_of
from carrara.serving.transports.http_requests import RequestReader
from carrara.serving.transports.known_heads import KnownHeads

_MOST_AHEAD = 16
"""So many requests of one connection may be under way; before one is answered, no more are read."""

_FIRST_PAUSE = 0.02

_LINGER_SECONDS = 2.0
"""A client that still sends when its reply comes would lose it, were the connection reset at once."""


class Exchange:
    """A request from the end of its head on, and what it is answered.

    `size` is what its head says of its body. `gone` tells that its client has left. `counts` is the front's to use, and
    `is_checked` too: as long as it is not, no more of the body is read. `pause` are the seconds until it is asked
    again, where its model is being loaded.
    """

    __slots__ = (
        "_connection",
        "began",
        "counts",
        "due",
        "gone",
        "is_checked",
        "is_last",
        "is_whole",
        "pause",
        "reply",
        "request",
        "size",
    )

    def __init__(self, connection: Connection, request: HttpRequest, size: int) -> None:
        self._connection, self.request, self.size = connection, request, size
        self.began, self.due = time.perf_counter(), math.inf
        self.reply: Reply | None = None
        self.gone = self.counts = self.is_whole = self.is_last = False
        self.is_checked, self.pause = True, _FIRST_PAUSE

    @property
    def client(self) -> str:
        return self._connection.client

    def settle(self, reply: Reply, *, keeps: bool = True) -> None:
        """Answer it; of several answers the first counts. The connection ends with it where it `keeps` not."""
        if self.reply is None and not self.gone:
            self.reply, self.is_last = reply, self.is_last or not keeps
            self._connection.send()

    def read_on(self) -> None:
        """Go on with a body that was kept waiting."""
        if not self.gone:
            self._connection.go_on(self)


class Front(Protocol):
    """What stands behind connections, and decides what is answered."""

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def came(self, exchange: Exchange) -> None:
        """A head has been read: settle it now, where its body is not to be held."""

    def ready(self, exchange: Exchange) -> None:
        """Its body has been read too."""

    def ended(self, exchange: Exchange) -> None:
        """Its reply is on its way, or its client has left."""


class Connection(asyncio.Protocol):
    """One client, whose bodies have at most `most` bytes. It belongs to the event loop's thread, as `heads` do."""

    def __init__(self, front: Front, most: int, heads: KnownHeads) -> None:
        self._front = front
        self._reader = RequestReader(self._came, self._whole, most, heads)
        self._exchanges: deque[Exchange] = deque()
        self._is_feeding = self._is_paused = self._is_stuck = self._is_ending = self._is_deaf = False
        self._lingering: asyncio.TimerHandle | None = None
        self.waits_since = 0.0
        """The moment of `time.monotonic` since which the client keeps it waiting, to send or to take; or 0."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.client = address_of(host, port)
        self._front.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._is_ending = True
        if self._lingering is not None:
            # It would be held, with all that it has read, until its time is over.
            self._lingering.cancel()
        while self._exchanges:
            exchange = self._exchanges.popleft()
            exchange.gone = True
            self._front.ended(exchange)
        self._front.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._is_ending or self._is_deaf:
            return
        # Only at its end it is known whether what has its reply is whole, and the connection can go on.
        self._is_feeding = True
        refusal = self._reader.feed(data)
        self._is_feeding = False
        if refusal is not None:
            self._refuse(refusal)
        self.send()
        self.look()

    def pause_writing(self) -> None:
        self._is_stuck = True
        self.look()

    def resume_writing(self) -> None:
        self._is_stuck = False
        self.look()

    def give_up(self, seconds: float) -> None:
        """End what the client has kept waiting for too long."""
        if self._is_stuck or self._is_ending:
            self._transport.abort()
        else:
            self._refuse(problem_of(408, f"the body took longer than {seconds:g} s"))
            self.look()

    def close(self) -> None:
        """Close it once what was answered is sent."""
        self._is_ending = True
        self._transport.close()

    def send(self) -> None:
        """Send the replies that are there, up to the first that is not."""
        if self._is_feeding or self._is_ending:
            return
        while self._exchanges and (reply := self._exchanges[0].reply) is not None:
            exchange = self._exchanges.popleft()
            keeps = exchange.is_whole and not exchange.is_last
            body = b"" if exchange.request.method == "HEAD" else reply.body
            self._transport.write(_head(reply, keeps, int(time.time())) + body)
            self._front.ended(exchange)
            if not keeps:
                self._end()
                return
        if self._is_paused:
            self.look()

    def _came(self, request: HttpRequest, size: int) -> bool:
        exchange = Exchange(self, request, size)
        self._exchanges.append(exchange)
        self._front.came(exchange)
        if exchange.is_checked:
            self._invite(exchange)
        return exchange.reply is None

    def _whole(self, body: bytes, keeps: bool) -> None:
        exchange = self._exchanges[-1]
        exchange.is_whole, exchange.is_last = True, exchange.is_last or not keeps
        head = exchange.request
        exchange.request = HttpRequest(head.method, head.path, body, head.headers, head.query, exchange.due)
        if exchange.reply is None and exchange.is_checked:
            self._front.ready(exchange)

    def go_on(self, exchange: Exchange) -> None:
        """Read the body of what was checked."""
        if not exchange.is_whole:
            self._invite(exchange)
        self.look()

    def _invite(self, exchange: Exchange) -> None:
        """Ask for the body where its client waits for that."""
        is_wanted = exchange.reply is None and not self._reader.refuses
        if is_wanted and exchange.request.headers.get("expect") and len(self._exchanges) == 1:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def look(self) -> None:
        """Take note of what is waited for, and read on only where there is room for more."""
        is_waiting = self._is_stuck or (self._reader.is_within and not self._is_deaf)
        self.waits_since = (self.waits_since or time.monotonic()) if is_waiting else 0.0
        is_full = self._is_stuck or len(self._exchanges) >= _MOST_AHEAD
        is_full = is_full or bool(self._exchanges and not self._exchanges[-1].is_checked)
        is_full = is_full and not self._is_ending
        if is_full != self._is_paused and not self._transport.is_closing():
            self._is_paused = is_full
            (self._transport.pause_reading if is_full else self._transport.resume_reading)()

    def _refuse(self, reply: Reply) -> None:
        """Answer what is being read, whatever it is; nothing after it is read."""
        if not self._exchanges or self._exchanges[-1].is_whole:
            self._exchanges.append(Exchange(self, HttpRequest("", ""), 0))
        self._is_deaf = True
        self._exchanges[-1].settle(reply, keeps=False)

    def _end(self) -> None:
        """Close a connection whose last reply is sent, and let what still comes pass by until the client has it."""
        self._is_ending = True
        self.look()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._lingering = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)
        else:
            self._transport.close()


@lru_cache(maxsize=256)
def _known_head(
    status: int, content_type: str, headers: tuple[tuple[str, str], ...], keeps: bool, moment: int
) -> bytes:
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"content-type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += ["connection: keep-alive" if keeps else "connection: close"]
    lines += [time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(moment)), "content-length: "]
    return "\r\n".join(lines).encode("latin-1")


def _head(reply: Reply, keeps: bool, moment: int) -> bytes:
    known = _known_head(reply.status, reply.content_type, reply.headers, keeps, moment)
    return b"%b%d\r\n\r\n" % (known, len(reply.body))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
