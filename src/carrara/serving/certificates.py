"""The key and the certificate of encrypted ports, read again when their files change, since certificates end."""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from carrara.core.errors import ConfigurationError

_logger = logging.getLogger("carrara.serving")

LOOK_SECONDS = 1.0
"""How often it is looked whether the files have changed."""


@dataclass(frozen=True)
class Tls:
    """What an encrypted port needs: PEM texts. With `client_ca` clients must show a certificate of that authority."""

    key: bytes
    certificate: bytes
    client_ca: bytes = b""


class Certificates:
    """What `read` gives of `files`, as it is now; what is wrong later leaves what there was. Thread-safe.

    ConfigurationError where it is wrong at first.
    """

    def __init__(
        self, read: Callable[[], Tls], files: Sequence[Path], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._files, self._clock = read, files, clock
        self._lock = threading.Lock()
        self._seen, self._looked = _look(files), clock()
        self._tls = _checked(read())

    @property
    def verifies_clients(self) -> bool:
        return bool(self._tls.client_ca)

    def current(self) -> Tls:
        """What holds now; the same object as before as long as nothing has changed."""
        with self._lock:
            if self._clock() - self._looked >= LOOK_SECONDS:
                self._looked = self._clock()
                self._look_again()
            return self._tls

    def _look_again(self) -> None:
        seen = _look(self._files)
        if seen == self._seen:
            return
        try:
            found = _checked(self._read())
        except ConfigurationError as error:
            # A key that was renewed before its certificate does not fit to it yet: it is looked at again.
            _logger.error("the new certificate is not taken, and the old one stays: %s", error)
            return
        if bool(found.client_ca) != self.verifies_clients:
            _logger.error("whether clients must show a certificate is not changed while the server runs")
            return
        self._seen, self._tls = seen, found
        _logger.info("the ports have a new certificate")


def read_pem(key: Path, certificate: Path) -> Tls:
    """A key and a certificate in files of their own; ConfigurationError where one cannot be read."""
    try:
        return Tls(key.read_bytes(), certificate.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"[serving] tls_key or tls_certificate cannot be read: {error}", hint="Both are PEM files."
        ) from None


@contextmanager
def as_files(tls: Tls) -> Iterator[tuple[Path, Path, Path | None]]:
    """Key, certificate and clients' authority in files that only this user reads, as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="carrara-tls-") as made:
        key, certificate, authority = (Path(made) / f"{name}.pem" for name in ("key", "certificate", "authority"))
        key.write_bytes(tls.key)
        certificate.write_bytes(tls.certificate)
        authority.write_bytes(tls.client_ca)
        yield key, certificate, authority if tls.client_ca else None


def _checked(tls: Tls) -> Tls:
    """ConfigurationError where key and certificate are not of each other, or are no PEM."""
    with as_files(tls) as (key, certificate, authority):
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if authority is not None:
                context.load_verify_locations(authority)
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(f"the key and the certificate cannot be used: {error}") from None
    return tls


def _look(files: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """What tells that a file was changed, or put in the place of another."""
    found: list[tuple[int, int, int] | None] = []
    for one in files:
        try:
            status = os.stat(one)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
    return found
