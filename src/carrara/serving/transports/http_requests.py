"""Bytes of HTTP/1.1 as requests: llhttp, the parser of Node.js, reads them in C (httptools); here are its limits.

A request that comes in one piece, with a head that llhttp has read before, it need not read again.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from carrara.core.plugins import require
from carrara.serving.protocols.http import HttpRequest, Reply
from carrara.serving.protocols.problem import problem_of
from carrara.serving.transports.known_heads import KnownHead, KnownHeads

_MOST_HEAD_BYTES = 64 << 10

Head = Callable[[HttpRequest, int], bool]
"""Is told of each head, and of the length of the body that it announces; says whether that body is wanted."""

Whole = Callable[[bytes, bool], None]
"""Is given the body, when it is all there, and whether the client wants to ask again on this connection."""


class RequestReader:
    """Reads the requests of one connection, one after the other, and tells `head` and `whole` of each.

    A body has at most `most` bytes. `heads` are those that are known, also from other connections.
    """

    def __init__(self, head: Head, whole: Whole, most: int, heads: KnownHeads) -> None:
        self._tools = require("httptools", extra="serve", purpose="REST serving")
        self._head, self._whole, self._most, self._heads = head, whole, most, heads
        self._parser = self._tools.HttpRequestParser(self)
        self._refusal: Reply | None = None
        self._read_bytes = self._head_bytes = self._begun = 0
        self._is_in_head = self.is_within = False
        """Whether a request has begun that is not whole yet."""
        self._is_over = False

    @property
    def refuses(self) -> bool:
        return self._refusal is not None

    def feed(self, data: bytes) -> Reply | None:
        """Read on; what is not taken is answered with the reply, and nothing can be read after it."""
        if self.is_within or self._is_over or self._refusal is not None:
            return self._parse(data)
        found = self._heads.find(data)
        if found is not None:
            self._again(data, *found)
            return None
        self._begun = 0
        refusal = self._parse(data)
        if refusal is None and self._begun == 1 and not self.is_within and not self._is_over:
            self._heads.learn(data, self._request, self._size)
        return refusal

    def _again(self, data: bytes, known: KnownHead, start: int) -> None:
        """A whole request whose head is known."""
        self.is_within = True
        is_wanted = self._head(known.request, known.size)
        self.is_within = False
        self._whole(data[start:] if is_wanted else b"", True)

    def _parse(self, data: bytes) -> Reply | None:
        rest = data
        self._read_bytes = len(data)
        while rest and self._refusal is None:
            try:
                self._parser.feed_data(rest)
                rest = b""
            except self._tools.HttpParserUpgrade as offer:
                rest = self._declined(rest[offer.args[0] :])
            except self._tools.HttpParserError as error:
                return self._refusal or problem_of(400, f"this is not HTTP: {error}")
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                return problem_of(431, f"the head has more than {_MOST_HEAD_BYTES} bytes")
        return self._refusal

    def on_message_begin(self) -> None:
        self.is_within = self._is_in_head = True
        self._begun += 1
        # What it begins in may be the end of another's body.
        self._head_bytes = -self._read_bytes
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._parser.should_upgrade():
            return
        length = self._headers.get("content-length", "")
        size = int(length) if length.isdecimal() else 0
        if size > self._most:
            self._refusal, size = self._too_large(), 0
        path, query = _target(self._url)
        self._size = size
        self._request = HttpRequest(self._parser.get_method().decode(), path, b"", self._headers, query)
        self._is_wanted = self._head(self._request, size) and self._refusal is None

    def on_body(self, data: bytes) -> None:
        if not self._is_wanted:
            return
        if len(self._body) + len(data) > self._most:
            self._refusal, self._is_wanted, self._body = self._too_large(), False, b""
        elif not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade() and self._refusal is None:
            self.is_within, keeps = False, self._parser.should_keep_alive()
            self._is_over = not keeps
            self._whole(bytes(self._body), keeps)

    def _too_large(self) -> Reply:
        return problem_of(413, f"the body has more than {self._most} bytes")

    def _declined(self, rest: bytes) -> bytes:
        """What is to be read on as if another protocol had not been offered, as Java's clients offer HTTP/2."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refusal = problem_of(405, "this server is no proxy")
            return b""
        kept = [(name, value) for name, value in self._headers.items() if name != "upgrade"]
        head = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in kept)
        self._parser = self._tools.HttpRequestParser(self)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._url, head, rest)


def _target(url: bytes) -> tuple[str, str]:
    """Path and query of a request's target.

    >>> _target(b"/v1/models/a%20b?x=1"), _target(b"http://host/path")
    (('/v1/models/a b', 'x=1'), ('/path', ''))
    """
    text = url.decode("utf-8", "replace")
    if not text.startswith("/"):
        found = urlsplit(text)
        return unquote(found.path), found.query
    path, _, query = text.partition("?")
    return unquote(path) if "%" in path else path, query
