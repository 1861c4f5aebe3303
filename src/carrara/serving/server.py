"""The model server: a manager, the middle of serving, and a transport for each protocol."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.inference import Inference, Log
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.blocks import Blocks
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
        self._blocks = Blocks(wire.decode_predict, wire.encode_predict)
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
        results: dict[int, Result] = {}
        predicts = [place for place, (method, _) in enumerate(calls) if method == wire.PREDICT]
        for place, result in zip(predicts, self._predict([calls[place][1] for place in predicts]), strict=True):
            results[place] = result
        for place, (method, data) in enumerate(calls):
            if place not in results:
                found = _attempt(self._methods()[method], data)
                results[place] = _failed(found) if isinstance(found, Exception) else found
        return [results[place] for place in range(len(calls))]

    def _predict(self, calls: Sequence[bytes]) -> list[Result]:
        """What calls of Predict end with: those that look alike are read, answered and written as one."""
        blocks, others = self._blocks.read(calls)
        results: dict[int, Result] = {}
        answers = self._inference.answer_all([block.request for block in blocks])
        for block, answer in zip(blocks, answers, strict=True):
            if isinstance(answer, Exception):
                # Each is asked by itself, and the one that is wrong fails alone.
                others += block.places
            else:
                written = self._blocks.write(answer, len(block.places))
                results.update(zip(block.places, map(Result, written), strict=True))
        results.update(zip(others, self._one_by_one([calls[place] for place in others]), strict=True))
        return [results[place] for place in range(len(calls))]

    def _one_by_one(self, calls: Sequence[bytes]) -> list[Result]:
        decoded = [_attempt(wire.decode_predict, data) for data in calls]
        answers = iter(self._inference.answer_all([one for one in decoded if not isinstance(one, Exception)]))
        found = [one if isinstance(one, Exception) else next(answers) for one in decoded]
        return [_failed(one) if isinstance(one, Exception) else Result(wire.encode_predict(one)) for one in found]

    def _methods(self) -> dict[str, Any]:
        return {wire.PREDICT: self._predict, wire.GET_MODEL_STATUS: self._status}

    def _status(self, data: bytes) -> Result:
        return Result(wire.encode_status(self._manager.status(wire.decode_status(data))))


def grpc_transport(host: str, port: int, methods: list[str], handler: Any) -> Transport:
    """The native transport where it is installed, else grpcio's."""
    if importlib.util.find_spec("pygrpc_native") is not None:
        from carrara.serving.transports.grpc_native import NativeGrpcTransport

        return NativeGrpcTransport(host, port, methods, handler)
    from carrara.serving.transports.grpc import GrpcTransport

    return GrpcTransport(host, port, methods, handler)


def _attempt(work: Callable[[bytes], Any], data: bytes) -> Any:
    """What work comes to, or the exception that it ends with."""
    try:
        return work(data)
    except Exception as error:
        return error


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
