"""HTTP by Granian (RSGI): HTTP in Rust, and one call of Python a request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.serving.protocols.rest import Reply
from carrara.serving.transports.base import MAX_MESSAGE_BYTES

Answerer = Callable[[str, str, bytes], Reply]

_JSON = [("content-type", "application/json")]
_THREADS = 4


class HttpTransport:
    """An HTTP/1.1 server on an event loop in a thread of its own."""

    def __init__(self, host: str, port: int, answer: Answerer) -> None:
        require("granian", extra="serve", purpose="REST serving")
        self._host, self._answer = host, answer
        self._pool = ThreadPoolExecutor(_THREADS, "rest")
        self.port = _free_port(host, port)
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Return when the server accepts connections."""
        self._thread.start()
        self._listening.wait()

    def stop(self, grace_seconds: float) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(grace_seconds)
        self._pool.shutdown()

    def _run(self) -> None:
        from granian.constants import Interfaces
        from granian.server.embed import Server

        asyncio.set_event_loop(self._loop)
        self._server = Server(self._application, self._host, self.port, interface=Interfaces.RSGI, log_enabled=False)
        # Granian opens its socket before it runs the hooks of a start, so that connections wait and none is refused.
        self._server.on_startup(self._listening.set)
        self._loop.run_until_complete(self._server.serve())

    async def _application(self, scope: Any, protocol: Any) -> None:
        if int(scope.headers.get("content-length", 0) or 0) > MAX_MESSAGE_BYTES:
            protocol.response_bytes(413, _JSON, b'{"error": "the body is too large"}')
            return
        body = await protocol()
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(self._pool, self._answer, scope.method, scope.path, body)
        protocol.response_bytes(reply.status, _JSON, reply.body)


def _free_port(host: str, port: int) -> int:
    """The port, checked to be free, or a free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UnavailableError(
                f"REST cannot listen on {host}:{port}: {error.strerror}",
                hint="Stop what is there, or choose --rest-port.",
            ) from error
        return int(probe.getsockname()[1])
