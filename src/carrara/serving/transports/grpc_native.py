"""gRPC by pygrpc-native: HTTP/2 in Rust, outside of the GIL; calls reach Python in batches.

Batching needs no timer: what arrives while one batch runs is the next batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.serving.access_log import Listener, Subject
from carrara.serving.exposition import CODES
from carrara.serving.protocols.status import RETRY_SECONDS
from carrara.serving.transports.backlog import Backlog
from carrara.serving.transports.base import (
    CANCELLED,
    MAX_MESSAGE_BYTES,
    OVERLOADED,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Handler,
    Result,
    Stream,
    address_of,
)
from carrara.serving.transports.grpc_streams import StreamServer

_MOST_CALLS = 256
_MOST_STREAMS = 128
"""Calls that a client may have under way on one connection; its library keeps the others waiting, which costs the
server nothing: to refuse a call costs a third of what it costs to answer it."""
_MOST_LOOKS = 4
_FLUSH_SECONDS = 0.25
_AGAIN = [("retry-after", str(RETRY_SECONDS))]


class NativeGrpcTransport:
    """Plaintext gRPC for unary methods; streams are answered by grpcio behind it.

    With `shared` other processes may listen at the same port, and the system spreads connections over them.
    """

    def __init__(
        self,
        host: str,
        port: int,
        methods: Sequence[str],
        handler: Handler,
        streams: Mapping[str, Stream] | None = None,
        *,
        shared: bool = False,
        access: Listener | None = None,
        message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._message_bytes = message_bytes
        native = require("pygrpc_native", extra="serve", purpose="gRPC serving")
        self._call, self._cancel = native.EVENT_CALL, native.EVENT_CANCEL
        self._methods, self._handler, self._access = list(methods), handler, access
        self._came: dict[int, tuple[float, int, Any]] = {}
        try:
            self._front = native.NativeGrpcFront(
                address_of(host, port),
                [(method, False) for method in methods],
                # The thread that answers is one, and so one that reads and writes keeps up with it: a second is woken
                # for each call to look for work that is not there (0.5).
                io_threads=1,
                reuse_port=shared,
                # Without it no event tells of deadlines that pass, and of clients that leave (0.5).
                call_details=True,
                max_concurrent_streams=_MOST_STREAMS,
            )
            self._streams = StreamServer(streams) if streams else None
            if self._streams is not None:
                self._front.set_fallback(self._streams.path)
            self._front.start()
        except (OSError, RuntimeError, ValueError) as error:
            raise UnavailableError(
                f"gRPC cannot listen on {host}:{port}: {error}", hint="Stop what is there, or choose --grpc-port."
            ) from error
        self._receive = self._front.recv_batch if access is None else self._with_details
        self.port = int(self._front.bound_port)
        self._backlog = Backlog()
        self._under_way = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="grpc", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        with self._under_way:
            self._stopping = True
            # What was answered is on its way still, and closing would cut it off: a call that comes in now is not
            # looked at any more, and ends with UNAVAILABLE, so that it may be asked elsewhere.
            time.sleep(min(_FLUSH_SECONDS, grace_seconds))
            self._front.close()
        if self._thread.is_alive():
            self._thread.join(grace_seconds)
        for call_id in list(self._came):
            self._ended(call_id, UNAVAILABLE)
        if self._streams is not None:
            self._streams.stop()

    def _serve(self) -> None:
        while (calls := self._next()) is not None:
            with self._under_way:
                if self._stopping:
                    return
                results = self._handler([(self._methods[method], data) for _, method, data in calls])
                for (call_id, _, _), result in zip(calls, results, strict=True):
                    self._respond(call_id, result)

    def _next(self) -> list[tuple[int, int, bytes]] | None:
        """The calls to answer now, in the order in which they came; None when the port is closed."""
        if not self._backlog.waiting:
            events = self._receive(_MOST_CALLS)
            if events is None:
                return None
            if len(events) < _MOST_CALLS:
                return self._calls(events)
            self._admit(events)
        # More than one batch waits: the rest is looked at too, so that what cannot be answered in time is refused now;
        # but never so much of it that nothing is answered while more and more comes.
        for _ in range(_MOST_LOOKS):
            events = self._receive(_MOST_CALLS, timeout_ms=0)
            if not events:
                break
            self._admit(events)
        calls, late = self._backlog.take(_MOST_CALLS)
        for call_id, _, _ in late:
            self._refuse(call_id)
        return calls

    def _with_details(self, most: int, timeout_ms: int | None = None) -> list[Any] | None:
        """Events as `recv_batch` gives them; what the access log tells of their calls is kept until they end."""
        detailed: list[Any] | None = self._front.recv_batch_details(most, timeout_ms)
        if detailed is None:
            return None
        moment = time.perf_counter()
        for kind, call_id, method, _, _, details in detailed:
            if kind == self._call:
                self._came[call_id] = moment, method, details
            elif kind == self._cancel:
                self._ended(call_id, CANCELLED)
        return [event[:5] for event in detailed]

    def _ended(self, call_id: int, code: int, subject: Subject | None = None) -> None:
        came = self._came.pop(call_id, None)
        if came is not None and self._access is not None:
            began, method, (metadata, client, _) = came
            name = self._methods[method]
            self._access.ended(began, "gRPC", name, CODES[code], dict(metadata), client, subject=subject)

    def _calls(self, events: Sequence[Any]) -> list[tuple[int, int, bytes]]:
        """The calls among events, without those that have cancelled or whose deadline has passed."""
        gone = {call_id for kind, call_id, *_ in events if kind == self._cancel}
        if gone:
            self._backlog.forget(gone)
        return [
            (call_id, method, data or b"")
            for kind, call_id, method, data, _ in events
            if kind == self._call and call_id not in gone
        ]

    def _admit(self, events: Sequence[Any]) -> None:
        for call in self._calls(events):
            if not self._backlog.add(call):
                self._refuse(call[0])

    def _refuse(self, call_id: int) -> None:
        self._front.fail(call_id, RESOURCE_EXHAUSTED, OVERLOADED, trailing_metadata=_AGAIN)
        if self._came:
            self._ended(call_id, RESOURCE_EXHAUSTED)

    def _respond(self, call_id: int, result: Result) -> None:
        if result.later is not None:
            later = result.later
            threading.Thread(target=lambda: self._respond(call_id, later()), name="grpc-later", daemon=True).start()
            return
        if not result.code and len(result.data) > self._message_bytes:
            text = f"the answer has {len(result.data)} bytes, more than {self._message_bytes}"
            result = Result(code=RESOURCE_EXHAUSTED, text=text, subject=result.subject)
        if result.code:
            self._front.fail(call_id, result.code, result.text, trailing_metadata=_AGAIN if result.again else None)
        else:
            self._front.respond(call_id, result.data)
        if self._came:
            self._ended(call_id, result.code, result.subject)
