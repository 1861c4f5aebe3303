"""An HTTP request and its reply, whatever server carries them, and the routes that lead from one to the other."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from carrara.core.errors import RequestError
from carrara.serving.access_log import Headers, Subject
from carrara.serving.requests import Answer, Request

JSON = "application/json"
_NO_HEADERS: dict[str, str] = {}


class HttpRequest(NamedTuple):
    """`due` is the moment of `time.monotonic` at which its client no longer waits."""

    method: str
    path: str
    body: bytes = b""
    headers: Headers = _NO_HEADERS
    query: str = ""
    due: float = math.inf

    def argument(self, name: str) -> str:
        """The last value of a query argument, or an empty text."""
        return parse_qs(self.query).get(name, [""])[-1]


class Reply(NamedTuple):
    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    subject: Subject | None = None
    loading: bool = False
    """Whether there is no answer yet because the endpoint is on its way into memory."""


class Asking(NamedTuple):
    """A prediction that a reply needs, and what makes the reply of its answer.

    With `split` it can be put together with others whose `split` is equal: that makes the replies of the answer to all
    of them, by their labels. `label` is what its client calls it.
    """

    request: Request
    encode: Callable[[Answer], Reply]
    split: Callable[[Answer, Sequence[str]], list[Reply]] | None = None
    label: str = ""


@dataclass(frozen=True)
class Route:
    """A method and a pattern of whole paths; `answer` takes the request and the pattern's match.

    What it asks is answered together with what others ask. `failed` makes a reply of an error that `answer` raises.
    """

    method: str
    pattern: re.Pattern[str]
    answer: Callable[[HttpRequest, re.Match[str]], Reply | Asking]
    failed: Callable[[Exception], Reply]


def json_reply(data: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, msgspec.json.encode(data), headers=headers)


_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")


def timeout_of(headers: Headers) -> float:
    """The seconds that a client waits, by the header `grpc-timeout`, as gRPC's gateways send it; else for ever.

    >>> timeout_of({"grpc-timeout": "250m"})
    0.25
    """
    said = headers.get("grpc-timeout")
    found = _TIMEOUT.fullmatch(str(said)) if said else None
    return int(found[1]) * _UNITS[found[2]] if found else math.inf


def lead(routes: Iterable[Route], method: str, path: str) -> tuple[Route, re.Match[str]] | None:
    """The first route that a method and a path match, and how."""
    for route in routes:
        found = route.pattern.fullmatch(path) if route.method == method else None
        if found is not None:
            return route, found
    return None


def allowed(routes: Iterable[Route], path: str) -> list[str]:
    """The methods that a path has."""
    return sorted({route.method for route in routes if route.pattern.fullmatch(path)})


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """A body as it was before `Content-Encoding`; RequestError where it is none, or larger than `limit` bytes."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise RequestError(f"the content encoding '{encoding}' is not known", hint="Use gzip, or none.")
    # A gzip bomb ends here: it is never unpacked beyond the limit.
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = unpacking.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"the body is not {encoding}: {error}") from error
    if len(found) > limit:
        raise RequestError(f"the body is larger than {limit} bytes when it is unpacked")
    if not unpacking.eof:
        raise RequestError(f"the {encoding} body ends too early")
    return found


def compressed(reply: Reply, headers: Headers) -> Reply:
    """The reply in gzip, where the client takes that by its headers and it is worth it."""
    if len(reply.body) < 1024 or "gzip" not in str(headers.get("accept-encoding") or ""):
        return reply
    packing = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    body = packing.compress(reply.body) + packing.flush()
    return reply._replace(body=body, headers=(*reply.headers, ("content-encoding", "gzip")))


def as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object; RequestError names what is none."""
    if not isinstance(value, dict):
        raise RequestError(f"{what} must be an object")
    return value
