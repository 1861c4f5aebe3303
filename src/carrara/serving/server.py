"""The model server: a manager, the middle of serving, and a transport for each protocol."""

from __future__ import annotations

import importlib.util

from carrara.serving.access_log import Listener
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.guard import Guard, is_safe, require_safe
from carrara.serving.inference import Inference
from carrara.serving.limits import Limits
from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.manager import ModelManager
from carrara.serving.model_runs import Log, Taken
from carrara.serving.observed import Observed
from carrara.serving.options import DEFAULT_WIRE, Wire
from carrara.serving.protocols import (
    endpoints_rest,
    features_rest,
    invocations,
    monitoring,
    open_inference_rest,
    openapi,
    outcomes_rest,
    repository_rest,
    tensorflow_rest,
    trace_rest,
)
from carrara.serving.protocols.endpoints_rest import Endpoints
from carrara.serving.protocols.features_rest import Read
from carrara.serving.protocols.outcomes_rest import Take
from carrara.serving.protocols.rest import Rest
from carrara.serving.protocols.tensorflow_serving import Reload
from carrara.serving.transports.base import Transport
from carrara.serving.transports.http import HttpTransport

GRACE_SECONDS = 30.0


class ModelServer:
    """Serves a manager's endpoints over gRPC and REST; port 0 takes a free one."""

    def __init__(
        self,
        manager: ModelManager,
        *,
        host: str = "127.0.0.1",
        insecure: bool = False,
        grpc_port: int = 8500,
        rest_port: int = 8501,
        log: Log | None = None,
        reload: Reload | None = None,
        observed: Observed | None = None,
        wire: Wire = DEFAULT_WIRE,
        guard: Guard | None = None,
        read_features: Read | None = None,
        take_outcomes: Take | None = None,
        access: Listener | None = None,
        taken: Taken | None = None,
        management: Management = NO_MANAGEMENT,
        endpoints: Endpoints | None = None,
    ) -> None:
        guarded = guard is not None or (wire.tls is not None and wire.tls.verifies_clients)
        self.host = host
        self.is_open = not is_safe(host, guarded=guarded, encrypted=wire.tls is not None)
        if not insecure:
            require_safe(host, guarded=guarded, encrypted=wire.tls is not None)
        self.manager, self._read_features, self._take_outcomes = manager, read_features, take_outcomes
        self._management, self._endpoints = management, endpoints
        limits = Limits({name: limit.shared_by(max(1, wire.shared)) for name, limit in wire.limits.items()})
        self.inference = Inference(
            manager,
            log,
            observed,
            most_rows=wire.most_rows,
            watch=wire.watch,
            limits=limits,
            metrics=manager.metrics,
            taken=taken,
        )
        calls = GrpcCalls(
            self.inference,
            manager,
            reload,
            told=access is not None,
            message_bytes=wire.message_bytes,
            management=management,
        )
        self._grpc = grpc_transport(host, grpc_port, calls, wire, guard, access)
        self._socket = _socket_transport(wire, calls, guard, access) if wire.socket_path else None
        try:
            rest = self._rest(wire, told=access is not None)
            self._http = HttpTransport(
                host,
                rest_port,
                rest.reply_all,
                body_seconds=wire.body_seconds,
                shared=wire.shared > 0,
                guard=guard,
                tls=wire.tls,
                access=access,
                message_bytes=wire.message_bytes,
            )
        except BaseException:
            for one in self._grpc_transports():
                one.stop(0)
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self._http.port

    def _grpc_transports(self) -> list[Transport]:
        return [self._grpc, *([self._socket] if self._socket is not None else [])]

    def _rest(self, wire: Wire, told: bool) -> Rest:
        routes = [
            *tensorflow_rest.routes(self.manager),
            *open_inference_rest.routes(self.manager),
            *invocations.routes(self.manager),
            *monitoring.routes(self.inference.metrics, wire.metrics_path),
            *openapi.routes(self.manager, of_workspace=self._take_outcomes is not None),
            *features_rest.routes(self.manager, self._read_features),
            *outcomes_rest.routes(self._take_outcomes),
            *repository_rest.routes(self.manager, self._management),
            *endpoints_rest.routes(self._endpoints, self._management),
            *trace_rest.routes(self.inference.recording, self._management),
        ]
        return Rest(self.inference, self.manager, routes, cors=wire.cors, told=told, message_bytes=wire.message_bytes)

    def start(self) -> None:
        """Load what is deployed, then take requests."""
        self.manager.start()
        for one in self._grpc_transports():
            one.start()
        self._http.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Refuse new requests, finish those under way, unload."""
        self._http.stop(grace_seconds)
        for one in self._grpc_transports():
            one.stop(grace_seconds)
        self.inference.shadows.close()
        self.inference.metrics.close()
        self.manager.stop()


def _socket_transport(wire: Wire, calls: GrpcCalls, guard: Guard | None, access: Listener | None) -> Transport:
    """gRPC on a socket in the file system, for clients on this machine."""
    from carrara.serving.transports.grpc import GrpcTransport

    return GrpcTransport(
        f"unix:{wire.socket_path}",
        0,
        calls.methods,
        calls.handle,
        calls.streams,
        guard=guard,
        access=access,
        message_bytes=wire.message_bytes,
        arguments=wire.channel_arguments,
    )


def grpc_transport(
    host: str,
    port: int,
    calls: GrpcCalls,
    wire: Wire = DEFAULT_WIRE,
    guard: Guard | None = None,
    access: Listener | None = None,
) -> Transport:
    """The native transport where it is installed and nothing is asked of grpcio: TLS, tokens, or arguments."""
    asks_grpcio = wire.tls is not None or guard is not None or wire.channel_arguments
    if not asks_grpcio and importlib.util.find_spec("pygrpc_native") is not None:
        from carrara.serving.transports.grpc_native import NativeGrpcTransport

        return NativeGrpcTransport(
            host,
            port,
            calls.methods,
            calls.handle,
            calls.streams,
            shared=wire.shared > 0,
            access=access,
            message_bytes=wire.message_bytes,
        )
    from carrara.serving.transports.grpc import GrpcTransport

    return GrpcTransport(
        host,
        port,
        calls.methods,
        calls.handle,
        calls.streams,
        tls=wire.tls,
        shared=wire.shared > 0,
        guard=guard,
        access=access,
        message_bytes=wire.message_bytes,
        arguments=wire.channel_arguments,
    )
