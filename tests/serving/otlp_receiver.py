"""A receiver of OTLP over HTTP on loopback, which keeps the spans that it is sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Its `address` is what OTEL_EXPORTER_OTLP_ENDPOINT takes; `spans` are those of all requests so far."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.spans: list[Any] = []
        self.resource: dict[str, Any] = {}

    def take(self, data: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for batch in ExportTraceServiceRequest.FromString(data).resource_spans:
            self.resource = attributes(batch.resource)
            self.spans += [span for scope in batch.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def tree(self, span: Any) -> tuple[str, list[Any]]:
        """A span's name, and the trees of those below it in the order of their beginnings."""
        below = sorted((one for one in self.spans if one.parent_span_id == span.span_id), key=began)
        return span.name, [self.tree(one) for one in below]


def began(span: Any) -> int:
    return span.start_time_unix_nano


def attributes(span: Any) -> dict[str, Any]:
    """What a span or a resource says, by key."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            receiver.take(gzip.decompress(data) if self.headers.get("content-encoding") == "gzip" else data)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()
