"""HTTP in this process: an event loop (uvloop) in a thread of its own, and what is let in to be answered."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
import time

from carrara.core.errors import CarraraError, Unauthenticated, UnavailableError
from carrara.core.plugins import require
from carrara.serving.access_log import Listener
from carrara.serving.certificates import Certificates, Tls, as_files
from carrara.serving.guard import LIVE, OPEN_PATHS, Guard
from carrara.serving.open_files import limit
from carrara.serving.protocols.http import Reply, timeout_of
from carrara.serving.protocols.problem import problem_of
from carrara.serving.protocols.status import RETRY_SECONDS
from carrara.serving.transports.base import (
    LONGEST_WAIT_SECONDS,
    MAX_MESSAGE_BYTES,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    OVERLOADED,
)
from carrara.serving.transports.http1 import Connection, Exchange
from carrara.serving.transports.known_heads import KnownHeads
from carrara.serving.transports.lane import Answerer, Lane

_POLL_SECONDS = 0.001
_FLUSH_SECONDS = 0.25
_BACKLOG = 1024
_MOST_CONNECTIONS = 16_384
_SHARE_OF_FILES = 0.75
"""Of the files that a process may have open: what is left is for gRPC, models and the logs, which must not fail because
many clients have come."""

_CLIENT_GONE = 499
"""As TensorFlow Serving, and nginx before it, number what a client has cancelled."""


class HttpTransport:
    """An HTTP/1.1 server, encrypted with what `tls` holds; a client may keep it waiting for `body_seconds`."""

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
        require("httptools", extra="serve", purpose="REST serving")
        self._body_seconds, self._guard, self._access = body_seconds, guard, access
        self._message_bytes = message_bytes
        self._encryption = None if tls is None else _encryption(tls)
        # All that is under way, and of it the predictions: pages that are asked for take no place of theirs.
        self._waiting = self._predicting = self._bytes = 0
        self._draining = False
        self._connections: set[Connection] = set()
        self._heads = KnownHeads()
        self._most_connections = min(_MOST_CONNECTIONS, int(_SHARE_OF_FILES * limit()))
        self._listener = _listening(host, port, shared)
        self.port = int(self._listener.getsockname()[1])
        self._loop = _new_loop()
        self._predictions = Lane(self._loop, answer, "rest-predictions")
        self._others = Lane(self._loop, answer, "rest")
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Return when the server accepts connections: they wait from here on, if need be."""
        self._listener.listen(_BACKLOG)
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        self._draining = True
        until = time.monotonic() + grace_seconds
        while self._waiting and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(grace_seconds + _FLUSH_SECONDS)
        self._listener.close()
        self._predictions.stop()
        self._others.stop()

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._most_connections:
            connection.close()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def came(self, exchange: Exchange) -> None:
        request = exchange.request
        exchange.due = time.monotonic() + min(timeout_of(request.headers), LONGEST_WAIT_SECONDS)
        if self._guard is None or request.path in OPEN_PATHS:
            self._let_in(exchange)
            return
        exchange.is_checked = False
        authorization = str(request.headers.get("authorization") or "")
        checked = self._loop.run_in_executor(None, _refused, self._guard, authorization)
        checked.add_done_callback(lambda done: self._checked(exchange, done.result()))

    def _checked(self, exchange: Exchange, refused: Reply | None) -> None:
        exchange.is_checked = True
        if refused is not None:
            exchange.settle(refused)
        else:
            self._let_in(exchange)
            if exchange.is_whole and exchange.reply is None:
                self.ready(exchange)
        exchange.read_on()

    def _let_in(self, exchange: Exchange) -> None:
        """Count a request, or say why it is not let in; its body is held from here on."""
        request = exchange.request
        if exchange.gone or exchange.reply is not None:
            return
        if self._draining and request.path != LIVE:
            again = (("retry-after", str(RETRY_SECONDS)),)
            exchange.settle(problem_of(503, "the server is stopping; ask another", headers=again), keeps=False)
        elif request.method == "POST" and (
            self._predicting >= MOST_WAITING or (self._bytes and self._bytes + exchange.size > MOST_WAITING_BYTES)
        ):
            exchange.settle(problem_of(429, OVERLOADED, headers=(("retry-after", str(RETRY_SECONDS)),)))
        else:
            exchange.counts = True
            self._count(exchange, 1)

    def _count(self, exchange: Exchange, step: int) -> None:
        self._waiting += step
        self._predicting += step * (exchange.request.method == "POST")
        self._bytes += step * exchange.size

    def ready(self, exchange: Exchange) -> None:
        # A probe must not wait for a model: predictions have threads of their own.
        (self._predictions if exchange.request.method == "POST" else self._others).ask(exchange)

    def ended(self, exchange: Exchange) -> None:
        if exchange.counts:
            self._count(exchange, -1)
        if self._access is not None:
            request, reply = exchange.request, exchange.reply or Reply(_CLIENT_GONE, b"")
            self._access.ended(
                exchange.began,
                "HTTP",
                request.method,
                reply.status,
                request.headers,
                exchange.client,
                path=request.path,
                subject=reply.subject,
            )

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_server(
            lambda: Connection(self, self._message_bytes, self._heads),
            sock=self._listener,
            ssl=self._encryption,
            backlog=_BACKLOG,
        )
        server = self._loop.run_until_complete(serving)
        self._watch()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._close_connections())
        self._loop.close()

    async def _close_connections(self) -> None:
        """Close them when what was answered is sent; who does not take it is left."""
        for connection in list(self._connections):
            connection.close()
        until = time.monotonic() + _FLUSH_SECONDS
        while self._connections and time.monotonic() < until:
            await asyncio.sleep(_POLL_SECONDS)

    def _watch(self) -> None:
        """Give up, now and again, the clients that have kept the server waiting for too long."""
        oldest = time.monotonic() - self._body_seconds
        for connection in list(self._connections):
            if 0 < connection.waits_since < oldest:
                connection.give_up(self._body_seconds)
        self._loop.call_later(min(1.0, self._body_seconds / 4), self._watch)


def _refused(guard: Guard, authorization: str) -> Reply | None:
    """The reply to who may not ask."""
    try:
        guard.check(authorization)
    except Unauthenticated as error:
        return problem_of(401, f"{error.message}. {error.hint}", headers=(("www-authenticate", "Bearer"),))
    except CarraraError:
        return problem_of(503, "it cannot be told now whether the token is valid")
    return None


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    uvloop = require("uvloop", extra="serve", purpose="REST serving")
    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def _encryption(certificates: Certificates) -> ssl.SSLContext:
    """What encrypts each new connection with the certificate that holds when it is opened."""
    held = certificates.current()
    newest = _context(held)

    def renew(connection: ssl.SSLObject, _name: str | None, _context_before: ssl.SSLContext) -> None:
        nonlocal held, newest
        if certificates.current() is not held:
            held = certificates.current()
            newest = _context(held)
        connection.context = newest

    # OpenSSL calls it for every handshake, whether or not the client names a server.
    first = _context(held)
    first.sni_callback = renew
    return first


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    with as_files(tls) as (key, certificate, authority):
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
    return context


def _listening(host: str, port: int, shared: bool) -> socket.socket:
    """A socket at a port, or a free one for 0; refused where another listens, unless the port is to be shared."""
    if shared:
        return hold_port(host, port)
    hint = "Stop what is there, or choose --rest-port."
    return _bound(host, port, socket.SO_REUSEADDR, f"REST cannot listen on {host}:{port}", hint)


def hold_port(host: str, port: int) -> socket.socket:
    """A socket that keeps a port, or a free one for 0, and lets others of this user listen there."""
    hint = "Stop what is there, or choose another port."
    return _bound(host, port, socket.SO_REUSEPORT, f"nothing can listen on {host}:{port}", hint)


def _bound(host: str, port: int, option: int, refused: str, hint: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise UnavailableError(f"{refused}: {error.strerror}", hint=hint) from error
    return made
