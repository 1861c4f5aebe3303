"""HTTP by Granian (RSGI): HTTP in Rust, and replies to all requests that wait made together."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from carrara.core.errors import CarraraError, Unauthenticated, UnavailableError
from carrara.core.plugins import require
from carrara.serving.access_log import Listener
from carrara.serving.certificates import LOOK_SECONDS, Certificates, as_files
from carrara.serving.guard import LIVE, OPEN_PATHS, Guard
from carrara.serving.protocols.http import HttpRequest, Reply, timeout_of
from carrara.serving.protocols.problem import problem_of
from carrara.serving.protocols.status import RETRY_SECONDS
from carrara.serving.transports.base import (
    LONGEST_WAIT_SECONDS,
    MAX_MESSAGE_BYTES,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    OVERLOADED,
)
from carrara.serving.transports.lane import Lane

Answerer = Callable[[Sequence[HttpRequest]], list[Reply]]

_POLL_SECONDS = 0.001
_FLUSH_SECONDS = 0.25
_BACKLOG = 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
"""Between two looks whether what is asked is in memory, seconds."""
_MOST_CONNECTIONS = 16_384
_CROWD = 64
"""Where so many wait it is worth its price to know which clients have gone."""

_CLIENT_GONE = 499
"""As TensorFlow Serving, and nginx before it, number what a client has cancelled."""


class HttpTransport:
    """An HTTP/1.1 server on an event loop in a thread of its own."""

    def __init__(
        self,
        host: str,
        port: int,
        answer: Answerer,
        *,
        body_seconds: float = 30.0,
        shared: bool = False,
        guard: Guard | None = None,
        tls: Certificates | None = None,
        access: Listener | None = None,
        message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._message_bytes = message_bytes
        require("granian", extra="serve", purpose="REST serving")
        self._host, self._body_seconds = host, body_seconds
        self._guard, self._tls = guard, tls
        self._access = access
        self._waiting = self._bytes = 0
        self._draining = False
        self._reserved = _reserve(host, port, shared)
        self.port = int(self._reserved.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._predictions = Lane(self._loop, answer, "rest-predictions")
        self._others = Lane(self._loop, answer, "rest")
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Return when the server accepts connections."""
        self._thread.start()
        # Granian listens in a thread of its own some time after its hooks of a start: only a connection tells.
        while not self._accepts():
            if not self._thread.is_alive():
                raise UnavailableError(f"REST cannot listen on {self._host}:{self.port}")
            time.sleep(_POLL_SECONDS)
        self._reserved.close()

    def stop(self, grace_seconds: float) -> None:
        self._draining = True
        until = time.monotonic() + grace_seconds
        while self._waiting and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        # What was answered is on its way still, and the end of the server would cut it off.
        time.sleep(min(_FLUSH_SECONDS, grace_seconds))
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(grace_seconds)
        self._predictions.stop()
        self._others.stop()

    def _accepts(self) -> bool:
        with socket.socket(_family(self._host)) as client:
            return client.connect_ex((self._host, self.port)) == 0

    def _run(self) -> None:
        from granian.constants import Interfaces
        from granian.server.embed import Server

        asyncio.set_event_loop(self._loop)
        self._server = Server(
            self._application,
            self._host,
            self.port,
            interface=Interfaces.RSGI,
            log_enabled=False,
            backlog=_BACKLOG,
            # What it is by default, 128 connections (2.8), a single client that idles would use up.
            backpressure=_MOST_CONNECTIONS,
        )
        self._loop.run_until_complete(self._server.serve() if self._tls is None else self._encrypted(self._tls))

    async def _encrypted(self, certificates: Certificates) -> None:
        """Serve with the certificate that holds: a new one makes a new worker at the same socket, and the old one
        finishes what it has."""
        with ExitStack() as files:
            held = certificates.current()
            self._show(*files.enter_context(as_files(held)))
            # Between the start of a new worker and the end of the old one.
            self._server.respawn_interval = _FLUSH_SECONDS
            serving = asyncio.ensure_future(self._server.serve())
            while not (await asyncio.wait({serving}, timeout=LOOK_SECONDS))[0]:
                if certificates.current() is not held:
                    held = certificates.current()
                    self._show(*files.enter_context(as_files(held)))
                    self._server.reload()  # type: ignore[no-untyped-call]
            serving.result()

    def _show(self, key: Path, certificate: Path, authority: Path | None) -> None:
        """What the next worker shows, and whether it asks clients for theirs."""
        from granian.constants import SSLProtocols

        self._server.build_ssl_context(certificate, key, None, SSLProtocols.tls13, authority, [], authority is not None)

    async def _application(self, scope: Any, protocol: Any) -> None:
        began = time.perf_counter()
        reply = await self._reply(scope, protocol)
        headers = [("content-type", reply.content_type), *reply.headers]
        protocol.response_bytes(reply.status, headers, reply.body)
        if self._access is not None:
            self._access.ended(
                began,
                "HTTP",
                scope.method,
                reply.status,
                scope.headers,
                scope.client,
                path=scope.path,
                subject=reply.subject,
            )

    async def _reply(self, scope: Any, protocol: Any) -> Reply:
        if self._guard is not None and scope.path not in OPEN_PATHS:
            refused = await self._loop.run_in_executor(None, self._refused, scope.headers.get("authorization") or "")
            if refused is not None:
                return refused
        if self._draining and scope.path != LIVE:
            again = (("connection", "close"), ("retry-after", str(RETRY_SECONDS)))
            return problem_of(503, "the server is stopping; ask another", headers=again)
        # A body is held from here on: what does not fit is refused before it is read.
        length = scope.headers.get("content-length") or ""
        size = int(length) if length.isdecimal() and int(length) <= self._message_bytes else 0
        is_full = self._waiting >= MOST_WAITING or (self._bytes and self._bytes + size > MOST_WAITING_BYTES)
        if scope.method == "POST" and is_full:
            return problem_of(429, OVERLOADED, headers=(("retry-after", str(RETRY_SECONDS)),))
        self._waiting += 1
        self._bytes += size
        try:
            return await self._answered(scope, protocol)
        finally:
            self._waiting -= 1
            self._bytes -= size

    def _refused(self, authorization: str) -> Reply | None:
        """The reply to who may not ask."""
        assert self._guard is not None
        try:
            self._guard.check(authorization)
        except Unauthenticated as error:
            return problem_of(401, f"{error.message}. {error.hint}", headers=(("www-authenticate", "Bearer"),))
        except CarraraError:
            return problem_of(503, "it cannot be told now whether the token is valid")
        return None

    async def _answered(self, scope: Any, protocol: Any) -> Reply:
        due = time.monotonic() + min(timeout_of(scope.headers), LONGEST_WAIT_SECONDS)
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _body(scope, protocol, self._message_bytes)
        except TimeoutError:
            return problem_of(408, f"the body took longer than {self._body_seconds:g} s")
        if body is None:
            return problem_of(413, f"the body has more than {self._message_bytes} bytes")
        request = HttpRequest(scope.method, scope.path, body, scope.headers, scope.query_string, due)
        # A probe must not wait for a model: predictions have threads of their own.
        asked = (self._predictions if request.method == "POST" else self._others).ask(request)
        reply = await (asked if self._waiting < _CROWD else _unless_gone(asked, protocol))
        return await self._once_loaded(request, reply) if reply.loading else reply

    async def _once_loaded(self, request: HttpRequest, reply: Reply) -> Reply:
        """The reply to who asked what is on its way into memory, once that is there."""
        pause = _FIRST_PAUSE
        while reply.loading and time.monotonic() + pause < request.due:
            await asyncio.sleep(pause)
            reply = await self._predictions.ask(request)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return reply


async def _unless_gone(asked: asyncio.Future[Reply], protocol: Any) -> Reply:
    """The reply, which is not made any more where the client leaves before its turn."""
    gone = asyncio.ensure_future(protocol.client_disconnect())
    await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
    if asked.done():
        gone.cancel()
        return asked.result()
    asked.cancel()
    return Reply(_CLIENT_GONE, b"")


async def _body(scope: Any, protocol: Any, most: int) -> bytes | None:
    """The whole body, or None where it is too large; a chunked one is never held beyond that."""
    length = scope.headers.get("content-length") or ""
    if length.isdecimal():
        return await protocol() if int(length) <= most else None
    found = bytearray()
    async for chunk in protocol:
        found += chunk
        if len(found) > most:
            return None
    return bytes(found)


def _reserve(host: str, port: int, shared: bool) -> socket.socket:
    """A socket that holds the port, or a free one for 0, until Granian shares it; refused where another listens, unless
    the port is to be shared."""
    if shared:
        return hold_port(host, port)
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UnavailableError(
                f"REST cannot listen on {host}:{port}: {error.strerror}",
                hint="Stop what is there, or choose --rest-port.",
            ) from error
        found = int(probe.getsockname()[1])
    return hold_port(host, found)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def hold_port(host: str, port: int) -> socket.socket:
    """A socket that keeps a port, or a free one for 0, and lets others of this user listen there."""
    held = socket.socket(_family(host))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise UnavailableError(
            f"nothing can listen on {host}:{port}: {error.strerror}", hint="Stop what is there, or choose another port."
        ) from error
    return held
