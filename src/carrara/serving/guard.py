"""Who may ask a server: whoever shows a valid token, in front of every protocol; probes need none."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from carrara.core.clock import Clock, now
from carrara.core.digests import digest_bytes
from carrara.core.errors import ConfigurationError, StorageError, Unauthenticated

if TYPE_CHECKING:
    from carrara.metadata.access import Token

LIVE = "/v2/health/live"
OPEN_PATHS = frozenset({LIVE, "/v2/health/ready"})
"""What anybody may ask over HTTP, by exact match."""

OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})

REPOSITORY_LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"
REPOSITORY_UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"
DEPLOYERS_METHODS = frozenset({REPOSITORY_LOAD, REPOSITORY_UNLOAD})
"""What needs a token of the role deployer over gRPC; over HTTP each path asks for itself."""

OPEN_TO_ALL = "insecure: whoever reaches '%s' may ask, and can read what others ask"
"""What is said every hour where somebody has insisted."""

_BEARER = "bearer "
_MOST_KNOWN = 10_000


@dataclass
class Guard:
    """Looks at the `authorization` of a request. Thread-safe.

    While the metadata store is away, tokens that were valid when it was asked last stay so until they expire.
    """

    authenticate: Callable[[str], Token]
    clock: Clock = now
    _known: dict[str, Token] = field(default_factory=dict)

    def check(self, authorization: str) -> Token:
        """The token behind a header; raises Unauthenticated, and StorageError where that cannot be told."""
        if not authorization.lower().startswith(_BEARER):
            raise Unauthenticated
        text = authorization[len(_BEARER) :].strip()
        digest = digest_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            token = self.authenticate(text)
        except StorageError:
            known = self._known.get(digest)
            if known is None or known.state(self.clock()) != "valid":
                raise
            return known
        except Unauthenticated:
            self._known.pop(digest, None)
            raise
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = token
        return token


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_safe(host: str, *, guarded: bool, encrypted: bool) -> bool:
    """Whether only this machine reaches a port, or whoever does must show who they are, and nobody else reads it."""
    return is_loopback(host) or (guarded and encrypted)


def require_safe(host: str, *, guarded: bool, encrypted: bool) -> None:
    """ConfigurationError where a port that others reach would have no tokens, or would show them to everybody."""
    if is_safe(host, guarded=guarded, encrypted=encrypted):
        return
    lacks = [name for name, there in (("tokens", guarded), ("TLS", encrypted)) if not there]
    raise ConfigurationError(
        f"the server does not listen on '{host}' without {' and '.join(lacks)}",
        hint='In carrara.toml: [serving] tls_certificate = "cert.pem", tls_key = "key.pem"; carrara token create NAME. '
        "A folder's server: --ssl_config_file with client_verify. Or keep 127.0.0.1, or insist with --insecure.",
    )
