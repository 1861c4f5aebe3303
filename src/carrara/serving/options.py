"""How a server is started: where it listens, how it watches what to serve, and when it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from carrara.serving.certificates import Certificates
from carrara.serving.inference import MOST_ROWS
from carrara.serving.limits import Limit
from carrara.serving.manager import NO_THREADS, Threads
from carrara.serving.residency import NO_BOUNDS, Bounds
from carrara.serving.slots import DEFAULT_RETRY, Retry
from carrara.serving.transports.base import MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class Wire:
    """How the ports behave.

    `most_rows` are joined in one run, 1 joins nothing; a body may take `body_seconds`; `cors` lets browsers of
    other origins ask; `metrics_path` is where Prometheus' metrics are found besides /metrics; with `tls` both ports
    are encrypted. `shared` processes listen at the same ports, 0 for one alone, and each has its part of the
    `limits` of endpoints. With `watch` it is told what runs spend their time on. At `socket_path` gRPC is answered
    as well. No message may have more than `message_bytes`. grpcio takes the `channel_arguments`, so that with them
    it answers gRPC.
    """

    most_rows: int = MOST_ROWS
    body_seconds: float = 30.0
    cors: bool = False
    metrics_path: str = ""
    tls: Certificates | None = None
    shared: int = 0
    watch: bool = False
    socket_path: str = ""
    message_bytes: int = MAX_MESSAGE_BYTES
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)


DEFAULT_WIRE = Wire()


@dataclass(frozen=True)
class ServerOptions:
    """Port 0 takes a free one; `until_eof` stops the server as well when standard input ends.

    With `tokens` whoever asks must show a valid one; `access_log` is where a line for each request goes. `insecure`
    lets others reach ports that ask for nothing. With `manage` what is served may be changed over the ports.
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
    insecure: bool = False
    threads: Threads = NO_THREADS
    manage: bool = False
