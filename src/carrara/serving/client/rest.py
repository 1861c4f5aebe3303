"""The client's wire over HTTP: the Open Inference Protocol, version 2, whose answers name their version."""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from carrara.serving.client.base import Array, Busy, Columns, Refused

_TYPES = {
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    "bool": "BOOL",
    "object": "BYTES",
}
_NUMPY = {theirs: ours for ours, theirs in _TYPES.items()}
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    500: "INTERNAL",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AGAIN = (408, 429, 502, 503, 504)


class RestWire:
    """One kept connection a thread."""

    def __init__(self, host: str, port: int, token: str, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        self._local = threading.local()

    def predict(
        self, endpoint: str, inputs: Columns, *, version: int | None, signature_name: str, seconds: float
    ) -> tuple[int, dict[str, Array]]:
        body: dict[str, Any] = {"inputs": [_tensor(name, array) for name, array in inputs.items()]}
        if signature_name:
            body["parameters"] = {"signature_name": signature_name}
        which = f"/versions/{version}" if version is not None else ""
        status, headers, data = self._ask(f"/v2/models/{quote(endpoint, safe='')}{which}/infer", body, seconds)
        found = _decoded(data)
        if status == 200:
            return int(found["model_version"]), {one["name"]: _array(one) for one in found["outputs"]}
        text, code = str(found.get("detail") or found.get("error") or data[:200]), _CODES.get(status, "UNKNOWN")
        if status in _AGAIN:
            after = headers.get("retry-after", "")
            raise Busy(code, f"'{endpoint}': {text}", float(after) if after.replace(".", "", 1).isdigit() else None)
        raise Refused(code, text, endpoint)

    def close(self) -> None:
        self._drop()

    def _ask(self, path: str, body: Any, seconds: float) -> tuple[int, http.client.HTTPMessage, bytes]:
        try:
            connection = self._connection(seconds)
            connection.request("POST", path, msgspec.json.encode(body), self._headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        except TimeoutError:
            self._drop()
            raise Busy("DEADLINE_EXCEEDED", f"no answer within {seconds:.3g} s") from None
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise Busy("UNAVAILABLE", f"{self._host}:{self._port} does not answer: {error}") from None

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        made: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if made is None:
            made = (
                http.client.HTTPConnection(self._host, self._port, timeout=seconds)
                if self._tls is None
                else http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
            )
            made.connect()
            self._local.connection = made
        made.timeout = seconds
        if made.sock is not None:
            made.sock.settimeout(seconds)
        return made

    def _drop(self) -> None:
        made = getattr(self._local, "connection", None)
        if made is not None:
            made.close()
            self._local.connection = None


def _tensor(name: str, array: Array) -> dict[str, Any]:
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]").astype(np.int64)
    values = [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]
    if array.dtype.kind == "f":
        # JSON has no NaN: a missing number is null.
        values = [None if value != value else value for value in values]
    return {"name": name, "shape": list(array.shape), "datatype": _TYPES.get(array.dtype.name, "BYTES"), "data": values}


def _array(tensor: dict[str, Any]) -> Array:
    dtype = np.dtype(_NUMPY.get(tensor["datatype"], "object"))
    data = tensor["data"]
    if dtype.kind == "f":
        data = [np.nan if value is None else value for value in data]
    return np.array(data, dtype).reshape(tensor["shape"])


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
