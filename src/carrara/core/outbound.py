"""Requests to addresses that a user named: no way into private networks, no redirects, bounded in time and size.

The name is resolved once, the address is checked, and the connection goes to that very address: a name that answers
differently the second time gains nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
from urllib.parse import urlsplit

from carrara.core.errors import DefinitionError, StorageError

SECONDS = 10.0
_MOST_BYTES = 1 << 16
_VARIABLE = re.compile(r"\$\{\w+\}")


def check_url(url: str) -> None:
    """Raise DefinitionError for what is no http or https URL with a host."""
    address = urlsplit(_VARIABLE.sub("x", url))
    if address.scheme not in ("http", "https") or not address.hostname or address.fragment:
        raise DefinitionError(f"'{url}' is no address to send to", hint="Write https://HOST/PATH.")


def post(url: str, body: bytes, *, private: bool = False, seconds: float = SECONDS) -> None:
    """POST JSON to `url`; StorageError, which does not repeat the URL's secrets, when it is refused or not taken."""
    address = urlsplit(os.path.expandvars(url))
    host = address.hostname or ""
    where = f"{address.scheme}://{host}"
    port = address.port or (443 if address.scheme == "https" else 80)
    connection = _Pinned(host, port, _resolved(host, port, private, where), address.scheme == "https", seconds)
    # A timeout of a socket is one of each read: a server that sends a byte now and then would hold us for ever.
    watch = threading.Timer(seconds, connection.abort)
    watch.start()
    try:
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json", "User-Agent": "carrara"})
        answer = connection.getresponse()
        answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise StorageError(f"{where} did not take it: {error or type(error).__name__}") from error
    finally:
        watch.cancel()
        connection.close()
    if not 200 <= answer.status < 300:
        raise StorageError(f"{where} did not take it: {answer.status} {answer.reason}")


def _resolved(host: str, port: int, private: bool, where: str) -> str:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise StorageError(f"{where} is not found: {error}") from error
    addresses = sorted(str(one) for one in found)
    refused = [one for one in addresses if not _is_public(one)]
    if refused and not private:
        raise StorageError(
            f"{where} is refused: {refused[0]} is in a private network",
            hint="Where that is meant, say so: private=True.",
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to one address under the name of its host."""

    def __init__(self, host: str, port: int, address: str, tls: bool, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._address, self._tls = address, tls

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = plain
        if self._tls:
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)

    def abort(self) -> None:
        if self.sock is not None:
            with contextlib.suppress(OSError):  # it may have ended at this moment
                self.sock.shutdown(socket.SHUT_RDWR)
