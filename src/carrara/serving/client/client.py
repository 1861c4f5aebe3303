"""`carrara.Client`: predictions from a server, over gRPC or REST."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from carrara.core.clock import microseconds
from carrara.core.errors import ConfigurationError, RequestError
from carrara.serving.client.base import Array, Busy, Wire

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


@dataclass(frozen=True)
class Answered:
    """What a server answered: outputs by name, and the version that made them."""

    endpoint: str
    version: int
    outputs: dict[str, Array]


class Client:
    """Asks a server at `grpc://HOST:PORT`, `grpcs://…`, `http://HOST:PORT` or `https://…`; safe in many threads.

    A server that is away or overloaded is asked again, at most `retries` times, after pauses that grow and are as long
    as it asks for, all within `timeout` seconds. A prediction may be asked twice: give rows a `prediction_id`, and it
    is logged once. `certificates` is a file of roots to trust; by default those of the system.
    """

    def __init__(
        self,
        address: str = "grpc://127.0.0.1:8500",
        *,
        token: str = "",
        timeout: float = 5.0,
        retries: int = 3,
        certificates: Path | None = None,
    ) -> None:
        self.timeout, self.retries = timeout, retries
        self._wire = _wire(address, token, certificates)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(
        self,
        endpoint: str,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        version: int | None = None,
        signature_name: str = "",
        timeout: float | None = None,
    ) -> Answered:
        """Predict from columns by name, or from rows; by features, or by entity keys.

        Raises Refused for a request that is wrong, and Busy where the deadline or the retries are used up.
        """
        columns = {name: _column(values) for name, values in _by_column(inputs).items()}
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        for attempt in range(self.retries + 1):
            left = deadline - time.monotonic()
            try:
                found = self._wire.predict(
                    endpoint, columns, version=version, signature_name=signature_name, seconds=max(left, 0.001)
                )
                return Answered(endpoint, *found)
            except Busy as error:
                pause = _pause(attempt, error.seconds)
                if attempt == self.retries or time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._wire.close()


def _wire(address: str, token: str, certificates: Path | None) -> Wire:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    ports = {"grpc": 8500, "grpcs": 8500, "http": 8501, "https": 8501}
    if not host or parts.scheme not in ports:
        raise ConfigurationError(
            f"'{address}' is not the address of a server", hint="Write grpc://HOST:PORT or http://HOST:PORT."
        )
    port = port or ports[parts.scheme]
    if parts.scheme.startswith("grpc"):
        from carrara.serving.client.grpc import GrpcWire

        roots = certificates.read_bytes() if certificates else b""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return GrpcWire(target, token, roots if parts.scheme == "grpcs" else None)
    from carrara.serving.client.rest import RestWire

    context = ssl.create_default_context(cafile=str(certificates) if certificates else None)
    return RestWire(host, port, token, context if parts.scheme == "https" else None)


def _by_column(inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if isinstance(inputs, Mapping):
        return inputs
    names = list(inputs[0]) if inputs else []
    for place, row in enumerate(inputs):
        if row.keys() != set(names):
            raise RequestError(f"row {place} has other names than the first")
    return {name: [row[name] for row in inputs] for name in names}


def _column(values: Any) -> Array:
    """Texts and bytes as objects, times as microseconds, numbers as what numpy makes of them."""
    array = values if isinstance(values, np.ndarray) else np.array(values)
    if array.dtype.kind in "US":
        return array.astype(object)
    if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], datetime):
        return np.array([microseconds(value) for value in array.flat], np.int64).reshape(array.shape)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]").astype(np.int64)
    return array


def _pause(attempt: int, asked: float | None) -> float:
    """As long as the server asks, else twice as long each time; part of it is drawn, so that clients part ways."""
    usual = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) if asked is None else asked
    return usual * random.uniform(0.8, 1.2)
