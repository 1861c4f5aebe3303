"""The model server: a manager, the middle of serving, and a transport for each protocol."""

from __future__ import annotations

import importlib.util
import ipaddress
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.inference import Inference, Log
from carrara.serving.manager import ModelManager
from carrara.serving.observed import Observed
from carrara.serving.protocols import invocations, open_inference_rest, tensorflow_rest
from carrara.serving.protocols.rest import Rest
from carrara.serving.protocols.tensorflow_serving import Reload
from carrara.serving.transports.base import MAX_MESSAGE_BYTES, Transport
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
        reload: Reload | None = None,
        observed: Observed | None = None,
    ) -> None:
        _only_loopback(host)
        self.manager = manager
        self.inference = Inference(manager, log, observed)
        calls = GrpcCalls(self.inference, manager, reload)
        self._grpc = grpc_transport(host, grpc_port, calls.methods, calls.handle)
        try:
            self._http = HttpTransport(host, rest_port, self._rest().reply_all)
        except BaseException:
            self._grpc.stop(0)
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self._http.port

    def _rest(self) -> Rest:
        routes = [
            *tensorflow_rest.routes(self.manager),
            *open_inference_rest.routes(self.manager),
            *invocations.routes(self.manager),
        ]
        return Rest(self.inference, routes, body_limit=MAX_MESSAGE_BYTES)

    def start(self) -> None:
        """Load what is deployed, then take requests."""
        self.manager.start()
        self._grpc.start()
        self._http.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Refuse new requests, finish those under way, unload."""
        self._http.stop(grace_seconds)
        self._grpc.stop(grace_seconds)
        self.inference.shadows.close()
        self.manager.stop()


def grpc_transport(host: str, port: int, methods: list[str], handler: Any) -> Transport:
    """The native transport where it is installed, else grpcio's."""
    if importlib.util.find_spec("pygrpc_native") is not None:
        from carrara.serving.transports.grpc_native import NativeGrpcTransport

        return NativeGrpcTransport(host, port, methods, handler)
    from carrara.serving.transports.grpc import GrpcTransport

    return GrpcTransport(host, port, methods, handler)


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
