"""The streaming methods of gRPC, by grpcio, which the fast transport leaves to a socket behind it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from carrara.core.plugins import require
from carrara.serving.transports.base import Stream

_THREADS = 16


class StreamServer:
    """A grpcio server on a Unix socket in a folder of its own."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        grpc = require("grpc", extra="serve", purpose="streams over gRPC")
        self._folder = Path(tempfile.mkdtemp(prefix="carrara-grpc-"))
        self.path = str(self._folder / "streams")
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, "grpc-streams"))
        self._server.add_generic_rpc_handlers(stream_handlers(grpc, streams))
        self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0)
        shutil.rmtree(self._folder, ignore_errors=True)


def stream_handlers(grpc: Any, streams: Mapping[str, Stream]) -> list[Any]:
    """grpcio's handlers of these methods."""
    return [_handler(grpc, method, stream) for method, stream in streams.items()]


def _handler(grpc: Any, method: str, stream: Stream) -> Any:
    _, service, name = method.split("/")

    def answer(requests: Iterable[bytes], context: Any) -> Iterator[bytes]:
        yield from stream(requests, context.is_active)

    return grpc.method_handlers_generic_handler(service, {name: grpc.stream_stream_rpc_method_handler(answer)})
