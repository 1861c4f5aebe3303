"""As many connections as the system allows, and never so many that models and logs find no file to open."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from doubling import Doubling, endpoint

from carrara.serving.manager import ModelManager
from carrara.serving.open_files import limit, raise_limit
from carrara.serving.server import ModelServer

BODY = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
ASK = b"POST /v1/models/doubling:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture
def soft_limit() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    yield soft - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_limit_below_what_the_system_allows_is_raised(soft_limit: int) -> None:
    assert limit() == soft_limit
    raise_limit()
    assert soft_limit < limit() <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def answered(port: int) -> socket.socket | None:
    """A connection that was answered and stays; None where it was closed instead."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    try:
        client.sendall(ASK)
        if client.recv(65536).startswith(b"HTTP/1.1 200"):
            return client
    except ConnectionError:
        pass
    client.close()
    return None


def test_connections_beyond_a_share_of_the_files_are_closed_until_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.serving.transports.http.limit", lambda: 8)
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    first = [answered(server.rest_port) for _ in range(6)]
    assert None not in first
    assert [answered(server.rest_port) for _ in range(3)] == [None] * 3
    for client in first:
        assert client is not None
        client.close()
    until = time.monotonic() + 20
    while (after := answered(server.rest_port)) is None:
        assert time.monotonic() < until, "the places of those who left are not given back"
    after.close()
    server.stop(1)
