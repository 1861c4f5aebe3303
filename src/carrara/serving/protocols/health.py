"""gRPC's health protocol: the server as a whole, its services, and each model by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from carrara.core.errors import NotFoundError
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.calls import Method
from carrara.serving.protocols.messages import message, services
from carrara.serving.protocols.tensorflow_serving import parsed
from carrara.serving.transports.base import Stream

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

_WATCH_SECONDS = 0.2

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def check(manager: ModelManager) -> Method:
    """Health.Check; NotFoundError for what is neither a service nor a model."""

    def checked(data: bytes) -> bytes:
        service = parsed("grpc.health.v1.HealthCheckRequest", data).service
        status = status_of(manager, service)
        if status == SERVICE_UNKNOWN:
            raise NotFoundError("service", service, [*services(), *manager.endpoints()])
        return encode(status)

    return checked


def watch(manager: ModelManager) -> Stream:
    """Health.Watch: the status now, and whenever it has changed, until the client goes."""

    def watched(requests: Iterable[bytes], there: Callable[[], bool]) -> Iterator[bytes]:
        asked = parsed("grpc.health.v1.HealthCheckRequest", next(iter(requests), b"")).service
        told = None
        while there():
            status = status_of(manager, asked)
            if status != told:
                yield encode(status)
            told = status
            time.sleep(_WATCH_SECONDS)

    return watched


def status_of(manager: ModelManager, service: str) -> int:
    """The status of a service or a model; of all for an empty name."""
    if service in manager.endpoints():
        return SERVING
    if service and service not in services():
        return SERVICE_UNKNOWN
    return SERVING if manager.endpoints() else NOT_SERVING


def encode(status: int) -> bytes:
    return bytes(message("grpc.health.v1.HealthCheckResponse")(status=status).SerializeToString())
