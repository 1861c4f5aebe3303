"""How a server is started: where it listens, how it watches what to serve, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carrara.serving.inference import MOST_ROWS
from carrara.serving.residency import NO_BOUNDS, Bounds
from carrara.serving.slots import DEFAULT_RETRY, Retry
from carrara.serving.transports.base import Tls


@dataclass(frozen=True)
class Wire:
    """How the ports behave.

    `most_rows` are joined in one run, 1 joins nothing; a body may take `body_seconds`; `cors` lets browsers of other
    origins ask; `metrics_path` is where Prometheus' metrics are found besides /metrics; with `tls` gRPC is encrypted.
    With `shared` other processes listen at the same ports. With `watch` it is told what runs spend their time on.
    """

    most_rows: int = MOST_ROWS
    body_seconds: float = 30.0
    cors: bool = False
    metrics_path: str = ""
    tls: Tls | None = None
    shared: bool = False
    watch: bool = False


DEFAULT_WIRE = Wire()


@dataclass(frozen=True)
class ServerOptions:
    """Port 0 takes a free one; `until_eof` stops the server as well when standard input ends.

    With `tokens` whoever asks must show a valid one; `access_log` is where a line for each request goes.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    poll_seconds: float = 1.0
    retry: Retry = DEFAULT_RETRY
    unload_first: bool = False
    until_eof: bool = False
    wire: Wire = DEFAULT_WIRE
    bounds: Bounds = NO_BOUNDS
    tokens: bool = False
    access_log: Path | None = None
