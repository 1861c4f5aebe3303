"""gRPC by grpcio: for platforms without pygrpc-native, and for encrypted ports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from carrara.core.errors import CarraraError, Forbidden, Unauthenticated, UnavailableError
from carrara.core.plugins import require
from carrara.serving.access_log import Listener, Subject
from carrara.serving.certificates import Certificates
from carrara.serving.exposition import CODES
from carrara.serving.guard import DEPLOYERS_METHODS, OPEN_METHODS, Guard
from carrara.serving.protocols.status import RETRY_SECONDS
from carrara.serving.transports.base import CANCELLED, MAX_MESSAGE_BYTES, MOST_WAITING, Handler, Stream, address_of
from carrara.serving.transports.grpc_streams import stream_handlers

_THREADS = 8


class GrpcTransport:
    """gRPC, one thread a call; encrypted with `tls`. A host `unix:PATH` is a socket in the file system."""

    def __init__(
        self,
        host: str,
        port: int,
        methods: Sequence[str],
        handler: Handler,
        streams: Mapping[str, Stream] | None = None,
        *,
        tls: Certificates | None = None,
        shared: bool = False,
        guard: Guard | None = None,
        access: Listener | None = None,
        message_bytes: int = MAX_MESSAGE_BYTES,
        arguments: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        grpc = require("grpc", extra="serve", purpose="gRPC serving")
        options = [("grpc.max_receive_message_length", message_bytes), ("grpc.so_reuseport", int(shared)), *arguments]
        pool = ThreadPoolExecutor(_THREADS, "grpc")
        interceptors = [guarded(grpc, guard, access)] if guard is not None else []
        self._server = grpc.server(
            pool, interceptors=interceptors, options=options, maximum_concurrent_rpcs=MOST_WAITING
        )
        self._server.add_generic_rpc_handlers([_handlers(grpc, method, handler, access) for method in methods])
        self._server.add_generic_rpc_handlers(stream_handlers(grpc, streams or {}))
        try:
            self.port = self._bind(grpc, host if host.startswith("unix:") else address_of(host, port), tls)
        except RuntimeError as error:
            raise UnavailableError(
                f"gRPC cannot listen on {host}:{port}: {error}", hint="Stop what is there, or choose --grpc-port."
            ) from error

    def _bind(self, grpc: Any, address: str, tls: Certificates | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, _credentials(grpc, tls)))

    def start(self) -> None:
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        self._server.stop(grace_seconds).wait()


def _credentials(grpc: Any, tls: Certificates) -> Any:
    """grpcio's credentials, which every new connection asks for the certificate that holds."""

    def now() -> Any:
        held = tls.current()
        return grpc.ssl_server_certificate_configuration([(held.key, held.certificate)], held.client_ca or None)

    return grpc.dynamic_ssl_server_credentials(now(), now, tls.verifies_clients)


def _handlers(grpc: Any, method: str, handler: Handler, access: Listener | None) -> Any:
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def answer(data: bytes, context: Any) -> bytes:
        began = time.perf_counter()
        if not context.is_active():
            # It waited for a thread, and its client has left or its deadline has passed: nobody reads an answer.
            _tell(access, began, method, CANCELLED, context)
            return b""
        (result,) = handler([(method, data)])
        if result.later is not None:
            result = result.later()
        _tell(access, began, method, result.code, context, result.subject)
        if result.code:
            if result.again:
                context.set_trailing_metadata((("retry-after", str(RETRY_SECONDS)),))
            context.abort(codes[result.code], result.text)
        return result.data

    _, service, name = method.split("/")
    return grpc.method_handlers_generic_handler(service, {name: grpc.unary_unary_rpc_method_handler(answer)})


def _tell(
    access: Listener | None, began: float, method: str, code: int, context: Any, subject: Subject | None = None
) -> None:
    if access is not None:
        metadata, client = dict(context.invocation_metadata()), context.peer()
        access.ended(began, "gRPC", method, CODES[code], metadata, client, subject=subject)


def guarded(grpc: Any, guard: Guard, access: Listener | None = None) -> Any:
    """grpcio's interceptor that lets calls with a valid token pass, and probes."""

    def refusing(handler: Any, method: str, code: Any, text: str) -> Any:
        def refuse(_: Any, context: Any) -> Any:
            _tell(access, time.perf_counter(), method, code.value[0], context)
            context.abort(code, text)

        if handler is None or not handler.request_streaming:
            return grpc.unary_unary_rpc_method_handler(refuse)
        return grpc.stream_stream_rpc_method_handler(refuse)

    class Guarded(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = continuation(details)
            if details.method in OPEN_METHODS:
                return handler
            header = next((value for name, value in details.invocation_metadata if name == "authorization"), "")
            try:
                token = guard.check(str(header))
                if details.method in DEPLOYERS_METHODS:
                    token.require("deployer")
            except Forbidden as error:
                text = f"{error.message}. {error.hint}"
                return refusing(handler, details.method, grpc.StatusCode.PERMISSION_DENIED, text)
            except Unauthenticated as error:
                return refusing(
                    handler, details.method, grpc.StatusCode.UNAUTHENTICATED, f"{error.message}. {error.hint}"
                )
            except CarraraError:
                text = "it cannot be told now whether the token is valid"
                return refusing(handler, details.method, grpc.StatusCode.UNAVAILABLE, text)
            return handler

    return Guarded()
