"""HTTP/1.1 on raw sockets: what one connection may ask, and in which order and by which thread it is answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from carrara.core.errors import Unauthenticated
from carrara.serving.guard import Guard
from carrara.serving.protocols.http import HttpRequest, Reply
from carrara.serving.transports.http import HttpTransport
from carrara.serving.transports.http_requests import RequestReader
from carrara.serving.transports.known_heads import KnownHeads

Answer = Callable[[HttpRequest], Reply]


def echo(request: HttpRequest) -> Reply:
    return Reply(200, f"{request.method} {request.path} {request.query} ".encode() + request.body)


@contextmanager
def listening(answer: Answer = echo, **options: object) -> Iterator[HttpTransport]:
    transport = HttpTransport("127.0.0.1", 0, lambda requests: [answer(one) for one in requests], **options)
    transport.start()
    try:
        yield transport
    finally:
        transport.stop(1)


def said(transport: HttpTransport, *parts: bytes) -> bytes:
    """All that is answered to bytes, which are sent part by part, until the connection is closed."""
    with socket.create_connection(("127.0.0.1", transport.port), timeout=10) as raw:
        for part in parts:
            raw.sendall(part)
            time.sleep(0.01)
        found = b""
        while data := raw.recv(65536):
            found += data
        return found


def bodies(answered: bytes) -> list[bytes]:
    """The bodies of replies, by the lengths that these say."""
    found = []
    while answered:
        head, _, rest = answered.partition(b"\r\n\r\n")
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))[16:])
        found.append(rest[:length])
        answered = rest[length:]
    return found


CLOSE = b"GET /end HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(path: str, body: bytes, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_requests_that_are_sent_ahead_are_answered_in_their_order():
    def answer(request: HttpRequest) -> Reply:
        time.sleep(0.05 if request.path == "/slow" else 0)
        return echo(request)

    with listening(answer) as transport:
        answered = said(transport, post("/slow", b"1") + post("/b", b"2") + CLOSE)
    assert bodies(answered) == [b"POST /slow  1", b"POST /b  2", b"GET /end  "]


def test_a_request_may_come_byte_by_byte_and_its_target_is_decoded():
    asked = post("/v1/models/a%20b:predict?x=%3D", b"{}", "connection: close")
    with listening() as transport:
        assert bodies(said(transport, *(bytes([one]) for one in asked))) == [b"POST /v1/models/a b:predict x=%3D {}"]


@pytest.mark.parametrize(
    ("asked", "keeps"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"connection: close"),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + CLOSE, b"connection: keep-alive"),
    ],
)
def test_an_old_client_is_told_whether_its_connection_stays(asked, keeps):
    with listening() as transport:
        assert keeps in said(transport, asked).partition(b"\r\n\r\n")[0]


def test_an_offer_of_http_2_is_passed_over_and_the_body_read():
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAA")
    with listening() as transport:
        assert bodies(said(transport, post("/a", b"xyz", *offer) * 3 + CLOSE)) == [b"POST /a  xyz"] * 3 + [
            b"GET /end  "
        ]
        assert said(transport, b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n").startswith(b"HTTP/1.1 405")


def test_a_client_that_asks_first_whether_its_body_is_wanted_is_told_so():
    with listening() as transport:
        answered = said(transport, post("/a", b"", "expect: 100-continue").replace(b": 0", b": 3"), b"xyz" + CLOSE)
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_body_that_is_announced_as_too_large_is_not_asked_for():
    with listening(message_bytes=100) as transport:
        announced = post("/a", b"", "expect: 100-continue").replace(b": 0", b": 101")
        assert said(transport, announced).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_beyond_the_limit_is_refused_as_it_comes():
    chunk = b"28\r\n" + b"x" * 40 + b"\r\n"
    with listening(message_bytes=100) as transport:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        assert said(transport, head, chunk, chunk, chunk).startswith(b"HTTP/1.1 413")
        assert bodies(said(transport, head + chunk + b"0\r\n\r\n" + CLOSE))[0] == b"POST /  " + b"x" * 40


def test_a_refused_body_whose_token_is_still_being_checked_takes_up_no_place():
    may_end = threading.Event()

    def slowly(text: str) -> object:
        may_end.wait(5)
        return None

    with listening(guard=Guard(slowly), message_bytes=100) as transport:
        announced = post("/a", b"", "authorization: Bearer x").replace(b": 0", b": 101")
        assert said(transport, announced).startswith(b"HTTP/1.1 413")
        may_end.set()
        assert bodies(said(transport, CLOSE.replace(b"host", b"authorization: Bearer x\r\nhost"))) == [b"GET /end  "]
        assert transport._waiting == 0


def test_what_is_being_loaded_is_asked_again_until_it_is_there():
    asked: list[str] = []

    def later(request: HttpRequest) -> Reply:
        asked.append(request.path)
        return Reply(503, b"", loading=True) if len(asked) < 3 else Reply(200, b"there")

    with listening(later) as transport:
        assert bodies(said(transport, post("/a", b"1", "connection: close"))) == [b"there"]
        assert asked == ["/a"] * 3
        asked.clear()
        hurried = post("/a", b"1", "connection: close", "grpc-timeout: 10m")
        assert said(transport, hurried).startswith(b"HTTP/1.1 503")


def test_a_reply_to_head_has_no_body():
    with listening() as transport:
        answered = said(transport, CLOSE.replace(b"GET", b"HEAD"))
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answered.endswith(b"\r\n\r\n")


def test_who_shows_no_token_has_no_body_taken():
    def nobody(text: str) -> object:
        raise Unauthenticated

    with listening(guard=Guard(nobody)) as transport:
        announced = post("/a", b"", "authorization: Bearer x").replace(b": 0", b": 50000000")
        assert said(transport, announced).startswith(b"HTTP/1.1 401")
        whole = post("/a", b"abc", "authorization: Bearer x")
        assert said(transport, whole + whole + post("/a", b"", "connection: close")).count(b"HTTP/1.1 401") == 3
        assert transport._waiting == transport._bytes == 0


def test_pages_that_are_asked_for_take_no_place_of_predictions(monkeypatch):
    monkeypatch.setattr("carrara.serving.transports.http.MOST_WAITING", 2)
    entered, hold = threading.Event(), threading.Event()

    def answer(request: HttpRequest) -> Reply:
        if request.method == "GET":
            entered.set()
            hold.wait(20)
        return echo(request)

    with listening(answer) as transport, socket.create_connection(("127.0.0.1", transport.port), timeout=20) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 4)
        assert entered.wait(20)
        answered = said(transport, post("/model", b"1", "connection: close"))
        hold.set()
    assert answered.startswith(b"HTTP/1.1 200 ")


def test_what_a_slow_reader_is_answered_is_not_cut_off():
    large = bytes(8 << 20)
    with (
        listening(lambda request: Reply(200, large)) as transport,
        socket.create_connection(("127.0.0.1", transport.port), timeout=10) as raw,
    ):
        raw.sendall(CLOSE)
        time.sleep(0.1)
        found = 0
        while data := raw.recv(1 << 20):
            found += len(data)
    assert found > len(large)


def test_a_model_that_hangs_after_it_was_quick_holds_up_no_probe():
    may_end, asked = threading.Event(), threading.Event()

    def answer(request: HttpRequest) -> Reply:
        if request.body == b"hang":
            asked.set()
            may_end.wait(20)
        return echo(request)

    with listening(answer) as transport, socket.create_connection(("127.0.0.1", transport.port), timeout=10) as raw:
        for _ in range(10):
            raw.sendall(post("/a", b"1"))
            assert raw.recv(65536)
        raw.sendall(post("/a", b"hang"))
        assert asked.wait(10)
        assert bodies(said(transport, CLOSE)) == [b"GET /end  "]
        may_end.set()
        assert raw.recv(65536)


def read(parts: Sequence[bytes], heads: KnownHeads | None = None) -> tuple[list[str], list[bytes], int]:
    """The paths and bodies that are read, and the status of a refusal, or 0."""
    paths: list[str] = []
    found: list[bytes] = []
    reader = RequestReader(
        lambda request, _: paths.append(request.path) is None,
        lambda body, _: found.append(body),
        1_000,
        heads or KnownHeads(),
    )
    refusals = [reply for part in parts if (reply := reader.feed(part)) is not None]
    return paths, found, refusals[0].status if refusals else 0


def test_a_request_reads_the_same_wherever_its_bytes_are_cut():
    asked = post("/a", b"xyz", "upgrade: h2c", "connection: upgrade") + post("/b", b"") + post("/c", b"1" * 100)
    whole = read([asked])
    assert whole == (["/a", "/b", "/c"], [b"xyz", b"", b"1" * 100], 0)
    for cut in range(1, len(asked)):
        assert read([asked[:cut], asked[cut:]]) == whole


@pytest.mark.parametrize(
    "parts",
    [
        [post("/a", b"xyz"), post("/a", b"123"), post("/a", b"longer"), post("/a", b"")],
        [post("/a", b"xyz") + post("/b", b"4")],
        [post("/a", b"xyz")[:-1], b"z"],
        [post("/a", b"xyz") + b"\r\n", post("/a", b"xyz")],
        [post("/a", b"xyz", "connection: close"), post("/a", b"xyz")],
        [post("/a", b"xyz", "upgrade: h2c", "connection: upgrade")],
        [post("/a", b"\r\n\r\n"), post("/a", b"\r\n\r\n")],
        [post("/a", b"z" * 2_000), post("/a", b"xyz")],
        [b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n"],
        [b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"],
        [b"GET /a HTTP/1.1\nhost: a\n\n"],
        [b"GET /a HTTP/1.1\r\nno header\r\n\r\n"],
    ],
)
def test_a_head_that_was_read_before_reads_as_it_did(parts):
    heads = KnownHeads()
    first = read(parts, heads)
    assert read(parts, heads) == read(parts, heads) == first == read(parts)


def test_a_head_that_was_read_before_is_known():
    heads = KnownHeads()
    read([post("/a", b"xyz")], heads)
    known, start = heads.find(post("/a", b"123"))
    assert (known.request.path, known.size, post("/a", b"123")[start:]) == ("/a", 3, b"123")
    assert heads.find(post("/a", b"1234")) is heads.find(post("/b", b"123")) is heads.find(b"") is None


def test_a_head_that_does_not_end_is_refused():
    assert read([b"GET / HTTP/1.1\r\nx: ", *[b"y" * 10_000] * 10])[2] == 431
