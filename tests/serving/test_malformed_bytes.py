"""Bytes that are no gRPC and no HTTP, on raw sockets (F31, F32): whoever sends them is refused, and others answered."""

from __future__ import annotations

import json
import socket
import struct
import time

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RESET,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    connected,
    frame,
    headers,
    message,
)

from carrara.serving.manager import ModelManager
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.server import ModelServer

INPUTS = {"x": np.array([1.0], np.float32), "name": np.array(["a"], dtype=object)}
REQUEST = wire.encode_request("doubling", INPUTS)
BODY = json.dumps({"instances": [{"x": 1.0, "name": "a"}]}).encode()
PREDICT = "POST /v1/models/doubling:predict HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def server():
    made = ModelServer(ModelManager(lambda: [endpoint(1)], lambda _: Doubling()), grpc_port=0, rest_port=0)
    made.start()
    yield made
    made.stop(5)


@pytest.fixture(autouse=True)
def others_are_answered(server):
    """After whatever was sent, a good client of either port is answered at once."""
    yield
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert channel.unary_unary(wire.PREDICT)(REQUEST, timeout=5)
    assert _answered(server, f"{PREDICT}content-length: {len(BODY)}\r\n\r\n".encode() + BODY).startswith(
        b"HTTP/1.1 200"
    )


def _read(raw: socket.socket, seconds: float) -> bytes:
    """What comes until the other side closes, or for so long."""
    found, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            data = raw.recv(65536)
        except TimeoutError:
            break
        except ConnectionError:
            return found
        if not data:
            return found
        found += data
    return found


def _answered(server: ModelServer, data: bytes, seconds: float = 5.0) -> bytes:
    """The first line, or what there is of it, that the REST port answers to these bytes."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=seconds) as raw:
        raw.sendall(data)
        found = b""
        while b"\r\n" not in found:
            try:
                data = raw.recv(65536)
            except (TimeoutError, ConnectionError):
                break
            if not data:
                break
            found += data
    return found


GRPC = {
    "another protocol": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a wrong preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS, 0, 0),
    "half a preface": PREFACE[:10],
    "half a frame": PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, headers())[:20],
    "a frame beyond its limit": PREFACE + frame(SETTINGS, 0, 0) + b"\xff\xff\xff" + bytes([DATA, 0, 0, 0, 0, 1]),
    "data on no stream": PREFACE + frame(SETTINGS, 0, 0) + frame(DATA, 0, 1, message(b"x")),
    "a window of nothing": PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
    "headers that are none": PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, b"\xff" * 50),
    "a message shorter than it says": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers())
    + frame(DATA, END_STREAM, 1, message(REQUEST, length=len(REQUEST) + 10)),
    "a message longer than it says": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers())
    + frame(DATA, END_STREAM, 1, message(REQUEST, length=len(REQUEST) - 10)),
    "a message of 4 GB": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers())
    + frame(DATA, 0, 1, message(b"", length=0xFFFFFFFF)),
    "a compression that nobody knows": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers(grpc_encoding="zebra"))
    + frame(DATA, END_STREAM, 1, message(REQUEST, flag=1)),
    "compressed as it says, and is not": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers(grpc_encoding="gzip"))
    + frame(DATA, END_STREAM, 1, message(REQUEST, flag=1)),
    "a call that never ends": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, headers())
    + frame(DATA, 0, 1, message(REQUEST)),
    "no message at all": PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS | END_STREAM, 1, headers()),
    "a timeout that is none": PREFACE + frame(SETTINGS, 0, 0) + call(REQUEST, grpc_timeout="soon"),
    "a path of two segments too many": PREFACE + frame(SETTINGS, 0, 0) + call(REQUEST, path="/a/b/c/d"),
}


@pytest.mark.parametrize("name", GRPC)
def test_what_is_no_grpc_is_never_answered_as_if_it_were(server, name):
    """F31."""
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=5) as raw:
        raw.sendall(GRPC[name])
        found = _read(raw, 0.3)
    assert b"doubled" not in found or name in ("a call that never ends", "a timeout that is none")


def test_headers_of_a_hundred_megabytes_are_never_held(server):
    """F31: a stream of header frames that does not end."""
    with connected(server.grpc_port) as raw:
        sent = 0
        try:
            raw.sendall(frame(HEADERS, 0, 1, headers()))
            while sent < 100 << 20:
                raw.sendall(frame(9, 0, 1, b"\0" + bytes([5]) + b"x-abc" + bytes([100]) + b"y" * 100) * 100)
                sent += 100 * 116
        except OSError:
            pass
    assert sent < 10 << 20


def test_a_flood_of_calls_that_are_taken_back_holds_up_nobody(server):
    """F31: HTTP/2's rapid reset."""
    with connected(server.grpc_port) as raw:
        try:
            for stream in range(1, 4_000, 2):
                raw.sendall(call(REQUEST, stream) + frame(RESET, 0, stream, struct.pack(">I", 8)))
        except OSError:
            pass
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert channel.unary_unary(wire.PREDICT)(REQUEST, timeout=5)


def test_a_client_that_takes_nothing_holds_up_nobody(server):
    """F31, F33: its window is 0, so that no answer can be sent to it."""
    with connected(server.grpc_port, struct.pack(">HI", 4, 0)) as raw:
        for stream in range(1, 100, 2):
            raw.sendall(call(REQUEST, stream))
        assert b"doubled" not in _read(raw, 0.3)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert channel.unary_unary(wire.PREDICT)(REQUEST, timeout=5)


SIZE = f"content-length: {len(BODY)}\r\n"
HTTP = {
    "truncated JSON": (f"{PREDICT}content-length: 10\r\n\r\n".encode() + BODY[:10], b"400"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5 + b"\r\n\r\n", b"400"),
    "a length that is none": (f"{PREDICT}content-length: ten\r\n\r\n".encode() + BODY, b"400"),
    "a negative length": (f"{PREDICT}content-length: -1\r\n\r\n".encode() + BODY, b"400"),
    "two lengths": (f"{PREDICT}{SIZE}content-length: 3\r\n\r\n".encode() + BODY, b"400"),
    "headers without end": (f"{PREDICT}x-long: ".encode() + b"y" * (2 << 20), b"4"),
    "a target of a megabyte": (b"GET /" + b"y" * (1 << 20) + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"4"),
    "a body that is no UTF-8": (
        f"{PREDICT}content-length: 21\r\n\r\n".encode() + b'{"instances": ["\xff\xfe"]}',
        b"400",
    ),
}


@pytest.mark.parametrize("name", HTTP)
def test_what_is_no_http_is_refused(server, name):
    """F32."""
    data, code = HTTP[name]
    found = _answered(server, data)
    assert found == b"" or found.split()[1].startswith(code)


def test_a_body_in_chunks_of_a_byte_is_read_as_a_whole(server):
    """F32."""
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in BODY) + b"0\r\n\r\n"
    assert _answered(server, f"{PREDICT}transfer-encoding: chunked\r\n\r\n".encode() + chunks).split()[1] == b"200"


@pytest.mark.parametrize(
    "both",
    [
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
    ],
)
def test_no_second_request_is_smuggled_in_the_body_of_a_first(server, both):
    """F32: two servers that read a body differently would take its end for another request."""
    hidden = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as raw:
        raw.sendall(f"{PREDICT}{both}\r\n".encode() + b"0\r\n\r\n" + hidden)
        found = _read(raw, 0.5)
    # Either it is refused, or both are read as RFC 9112 says: chunked before any length.
    statuses = [int(line.split()[1]) for line in found.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert statuses == [] or statuses[0] == 400
