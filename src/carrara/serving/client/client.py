"""`carrara.Client`: predictions from a server, over gRPC or REST."""

from __future__ import annotations

import random
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from carrara.core.errors import ConfigurationError
from carrara.serving.client.base import Array, Busy, Wire
from carrara.serving.client.columns import Given, columns_of

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
    is logged once. `certificates` is a file of roots to trust; by default those of the system. `identity` is the key
    and the certificate, PEM files both, that the client shows to a server that verifies its clients.
    """

    def __init__(
        self,
        address: str = "grpc://127.0.0.1:8500",
        *,
        token: str = "",
        timeout: float = 5.0,
        retries: int = 3,
        certificates: Path | None = None,
        identity: tuple[Path, Path] | None = None,
    ) -> None:
        self.timeout, self.retries = timeout, retries
        self._wire = _wire(address, token, certificates, identity)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(
        self,
        endpoint: str,
        inputs: Given,
        *,
        version: int | None = None,
        signature_name: str = "",
        timeout: float | None = None,
    ) -> Answered:
        """Predict from columns by name, or from rows; by features, or by entity keys.

        Raises Refused for a request that is wrong, and Busy where the deadline or the retries are used up.
        """
        columns = columns_of(inputs)
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


def _wire(address: str, token: str, certificates: Path | None, identity: tuple[Path, Path] | None) -> Wire:
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
    if identity and not parts.scheme.endswith("s"):
        raise ConfigurationError(
            f"'{address}' is not encrypted, so that no certificate is shown", hint="Write grpcs://."
        )
    try:
        return _opened(parts.scheme, host, port, token, certificates, identity)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the certificates of the client cannot be used: {error}") from error


def _opened(
    scheme: str, host: str, port: int, token: str, certificates: Path | None, identity: tuple[Path, Path] | None
) -> Wire:
    if scheme.startswith("grpc"):
        from carrara.serving.client.grpc import GrpcWire

        roots = certificates.read_bytes() if certificates else None
        shown = (identity[0].read_bytes(), identity[1].read_bytes()) if identity else (None, None)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return GrpcWire(target, token, (roots, *shown) if scheme == "grpcs" else None)
    from carrara.serving.client.rest import RestWire

    context = ssl.create_default_context(cafile=str(certificates) if certificates else None)
    if identity:
        context.load_cert_chain(identity[1], identity[0])
    return RestWire(host, port, token, context if scheme == "https" else None)


def _pause(attempt: int, asked: float | None) -> float:
    """As long as the server asks, else twice as long each time; part of it is drawn, so that clients part ways."""
    usual = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) if asked is None else asked
    return usual * random.uniform(0.8, 1.2)
