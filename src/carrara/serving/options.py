"""How a server is started: where it listens, how it watches what to serve, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass

from carrara.serving.slots import DEFAULT_RETRY, Retry


@dataclass(frozen=True)
class ServerOptions:
    """Port 0 takes a free one; `until_eof` stops the server as well when standard input ends."""

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    poll_seconds: float = 1.0
    retry: Retry = DEFAULT_RETRY
    unload_first: bool = False
    until_eof: bool = False
