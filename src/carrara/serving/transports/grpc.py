"""gRPC by grpcio: for platforms without pygrpc-native."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.serving.transports.base import MAX_MESSAGE_BYTES, Handler

_THREADS = 8


class GrpcTransport:
    """Plaintext gRPC for unary methods, one thread a call."""

    def __init__(self, host: str, port: int, methods: Sequence[str], handler: Handler) -> None:
        grpc = require("grpc", extra="serve", purpose="gRPC serving")
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, "grpc"), options=options)
        self._server.add_generic_rpc_handlers([_handlers(grpc, method, handler) for method in methods])
        try:
            self.port = int(self._server.add_insecure_port(f"{host}:{port}"))
        except RuntimeError as error:
            raise UnavailableError(
                f"gRPC cannot listen on {host}:{port}: {error}", hint="Stop what is there, or choose --grpc-port."
            ) from error

    def start(self) -> None:
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        self._server.stop(grace_seconds).wait()


def _handlers(grpc: Any, method: str, handler: Handler) -> Any:
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def answer(data: bytes, context: Any) -> bytes:
        (result,) = handler([(method, data)])
        if result.code:
            context.abort(codes[result.code], result.text)
        return result.data

    _, service, name = method.split("/")
    return grpc.method_handlers_generic_handler(service, {name: grpc.unary_unary_rpc_method_handler(answer)})
