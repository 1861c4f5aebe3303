"""The model server: a manager, the middle of serving, and a transport for each protocol."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Sequence
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.inference import Inference, Log
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.rest import Rest
from carrara.serving.protocols.status import status_of
from carrara.serving.transports.base import Result, Transport
from carrara.serving.transports.http import HttpTransport

GRACE_SECONDS = 30.0


class ModelServer:
    """Serves a manager's endpoints over gRPC and REST; port 0 takes a free one."""

    def __init__(
        self,
        manager: ModelManager,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 8500,
        rest_port: int = 8501,
        log: Log | None = None,
    ) -> None:
        _only_loopback(host)
        self._manager = manager
        self._inference = Inference(manager, log)
        self._grpc = grpc_transport(host, grpc_port, list(self._methods()), self.handle)
        try:
            self._http = HttpTransport(host, rest_port, Rest(self._inference, manager).reply)
        except BaseException:
            self._grpc.stop(0)
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self._http.port

    def start(self) -> None:
        """Load what is deployed, then take requests."""
        self._manager.start()
        self._grpc.start()
        self._http.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Refuse new requests, finish those under way, unload."""
        self._http.stop(grace_seconds)
        self._grpc.stop(grace_seconds)
        self._manager.stop()

    def handle(self, calls: Sequence[tuple[str, bytes]]) -> list[Result]:
        """Answer gRPC calls that came in together; predictions among them share their runs."""
        results: list[Result | None] = [None] * len(calls)
        waiting = {}
        for place, (method, data) in enumerate(calls):
            try:
                decoded = self._methods()[method](data)
            except Exception as error:
                results[place] = _failed(error)
                continue
            if isinstance(decoded, Result):
                results[place] = decoded
            else:
                waiting[place] = decoded
        answers = self._inference.answer_all(list(waiting.values()))
        for place, answer in zip(waiting, answers, strict=True):
            results[place] = _failed(answer) if isinstance(answer, Exception) else Result(wire.encode_predict(answer))
        return [result for result in results if result is not None]

    def _methods(self) -> dict[str, Any]:
        return {wire.PREDICT: wire.decode_predict, wire.GET_MODEL_STATUS: self._status}

    def _status(self, data: bytes) -> Result:
        return Result(wire.encode_status(self._manager.status(wire.decode_status(data))))


def grpc_transport(host: str, port: int, methods: list[str], handler: Any) -> Transport:
    """The native transport where it is installed, else grpcio's."""
    if importlib.util.find_spec("pygrpc_native") is not None:
        from carrara.serving.transports.grpc_native import NativeGrpcTransport

        return NativeGrpcTransport(host, port, methods, handler)
    from carrara.serving.transports.grpc import GrpcTransport

    return GrpcTransport(host, port, methods, handler)


def _failed(error: Exception) -> Result:
    code, text = status_of(error)
    return Result(code=code, text=text)


def _only_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"the server does not listen on '{host}': it has no authentication yet",
            hint='Keep [serving] host = "127.0.0.1", and put a proxy that authenticates in front of it.',
        )
