"""Who may do what: API tokens, each with a role.

A token is `carrara_ID_SECRET`. The store keeps the digest of it, so that nobody who reads the store can use one; the ID
is found by an index and may be shown. A secret has 256 random bits, so one round of SHA-256 is enough.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import insert, select, update

from carrara.core.clock import Clock, from_microseconds, microseconds, now
from carrara.core.digests import digest_bytes
from carrara.core.errors import CarraraError, Forbidden, NotFoundError, Unauthenticated
from carrara.core.identity import current_user
from carrara.metadata.audit import record
from carrara.metadata.store import Metadata
from carrara.metadata.tables import tokens

Role = Literal["viewer", "editor", "deployer", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "deployer", "admin")
"""Each may do what the ones before it may. A viewer reads and predicts; an editor trains, stops, approves proposals of
data; a deployer decides what is served; an admin hands out tokens and overrides gates."""

_LONGEST = 200
_SHAPE = re.compile(r"carrara_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Token:
    """What is kept of a token; never its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, at: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "valid"

    def allows(self, needed: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(needed)

    def require(self, needed: Role) -> None:
        """Raises Forbidden where the role does not reach."""
        if not self.allows(needed):
            raise Forbidden(self.name, self.role, needed)


def create_token(
    metadata: Metadata, name: str, role: str, *, lasts: timedelta | None = None, at: datetime | None = None
) -> tuple[Token, str]:
    """A new token and its text, which nobody can show again. Two valid tokens never share a name."""
    at = from_microseconds(microseconds(at or now()))
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise CarraraError(f"a token's name is 1 to {_LONGEST} printable characters")
    made = Token(secrets.token_hex(6), name, _role(role), at, current_user(), at + lasts if lasts else None)
    text = f"carrara_{made.id}_{secrets.token_urlsafe(32)}"
    values = {**vars(made), "created_at": microseconds(at), "digest": digest_bytes(text.encode())}
    values["expires_at"] = microseconds(made.expires_at) if made.expires_at else None
    with metadata.begin() as connection:
        same = connection.execute(select(tokens).where(tokens.c.name == name)).mappings()
        if any(_token(row).state(at) == "valid" for row in same):
            raise CarraraError(f"there is a token '{name}' already", hint="Revoke it first, or choose another name.")
        connection.execute(insert(tokens).values(**values))
        record(connection, "create token", f"token:{made.id}", name=name, role=role)
    return made, text


def authenticate(metadata: Metadata, text: str, *, at: datetime | None = None) -> Token:
    """The valid token that a text is; raises Unauthenticated for anything else."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise Unauthenticated
    with metadata.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.id == match[1])).mappings().one_or_none()
    same = row is not None and hmac.compare_digest(digest_bytes(text.encode()), row["digest"])
    if row is None or not same or _token(row).state(at or now()) != "valid":
        raise Unauthenticated
    return _token(row)


def list_tokens(metadata: Metadata) -> list[Token]:
    """Every token there ever was, the newest first."""
    with metadata.read() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.id)).mappings()
        return [_token(row) for row in rows]


def revoke_token(metadata: Metadata, which: str) -> Token:
    """End a token, by its id or by the name of a valid one, from now on. One that was revoked before stays so."""
    at = now()
    with metadata.begin() as connection:
        rows = connection.execute(select(tokens)).mappings().all()
        known = [_token(row) for row in rows]
        found = next((one for one in known if one.id == which), None)
        found = found or next((one for one in known if one.name == which and one.state(at) == "valid"), None)
        if found is None:
            raise NotFoundError("token", which, [one.name for one in known if one.state(at) == "valid"])
        if found.revoked_at is None:
            this = tokens.c.id == found.id
            connection.execute(update(tokens).where(this).values(revoked_at=microseconds(at)))
            record(connection, "revoke token", f"token:{found.id}", name=found.name)
            found = _token(connection.execute(select(tokens).where(this)).mappings().one())
    return found


class Authenticator:
    """`authenticate` for a server: a token that was valid is asked for again only after `seconds`."""

    def __init__(self, metadata: Metadata, *, seconds: float = 2.0, clock: Clock = now, most: int = 10_000) -> None:
        self._metadata, self._seconds, self._clock, self._most = metadata, seconds, clock, most
        self._known: dict[str, tuple[float, Token]] = {}

    def __call__(self, text: str) -> Token:
        """Raises Unauthenticated."""
        digest, moment = digest_bytes(text.encode("utf-8", "surrogatepass")), time.monotonic()
        known = self._known.get(digest)
        if known is not None and moment < known[0] and known[1].state(self._clock()) == "valid":
            return known[1]
        token = authenticate(self._metadata, text, at=self._clock())
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[digest] = (moment + self._seconds, token)
        return token


def _role(name: str) -> Role:
    for role in ROLES:
        if role == name:
            return role
    raise NotFoundError("role", name, ROLES)


def _token(row: Any) -> Token:
    values = {name: value for name, value in row.items() if name != "digest"}
    for name in ("created_at", "expires_at", "revoked_at"):
        values[name] = from_microseconds(values[name]) if values[name] is not None else None
    return Token(**values)
