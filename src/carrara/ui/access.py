"""Who comes in: a token in a header, or a browser that was signed in with one; everything else is refused.

Deny by default: `Guard` stands before the routes and lets nobody by whom it does not know, but to `OPEN`. A request
that changes something must come from this page itself (`Origin`, `Sec-Fetch-Site`), and from a browser with the
session's CSRF token; names in `Host` that are not this server's are refused, against DNS rebinding.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from carrara.core.errors import Unauthenticated
from carrara.metadata.access import Authenticator, Token

COOKIE = "carrara_session"
OPEN = frozenset({("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/static/carrara.css")})
_SAFE = frozenset({"GET", "HEAD"})
_SESSION_SECONDS = 12 * 3600.0
_MOST_SESSIONS = 10_000
_LINK_SECONDS = 600.0


@dataclass(frozen=True)
class Session:
    """A signed-in browser: the token that it was signed in with, its CSRF token, and until when (monotonic)."""

    text: str
    csrf: str
    until: float


@dataclass
class Sessions:
    """Signed-in browsers, in this process only: when it ends, all are signed out."""

    known: dict[str, Session] = field(default_factory=dict)
    links: dict[str, tuple[str, float]] = field(default_factory=dict)

    def begin(self, text: str) -> str:
        """A session for a valid token; returns what the cookie holds."""
        now = time.monotonic()
        self.known = {key: one for key, one in self.known.items() if one.until > now}
        while len(self.known) >= _MOST_SESSIONS:
            self.known.pop(next(iter(self.known)), None)
        key = secrets.token_urlsafe(32)
        self.known[key] = Session(text, secrets.token_urlsafe(32), now + _SESSION_SECONDS)
        return key

    def get(self, key: str) -> Session | None:
        found = self.known.get(key)
        return found if found is not None and found.until > time.monotonic() else None

    def end(self, key: str) -> None:
        self.known.pop(key, None)

    def link(self, text: str) -> str:
        """A code that signs in once, within ten minutes, with a token."""
        code = secrets.token_urlsafe(32)
        self.links[code] = (text, time.monotonic() + _LINK_SECONDS)
        return code

    def redeem(self, code: str) -> str | None:
        """The token of a code, this once."""
        text, until = self.links.pop(code, ("", 0.0))
        return text if until > time.monotonic() else None


@dataclass(frozen=True)
class Visitor:
    """Who asks: the token, and the session where it is a browser."""

    token: Token
    session: Session | None = None


class Guard:
    """An ASGI application before another one: lets by who may, with `scope["visitor"]`, and answers everybody else."""

    def __init__(self, app: Any, refuse: Any, authenticator: Authenticator, sessions: Sessions, hosts: Iterable[str]):
        self._app, self._refuse = app, refuse
        self._authenticator, self._sessions, self._hosts = authenticator, sessions, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        # Names of objects may hold a slash: routes are matched by the path as it was sent.
        path = scope["path"] = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        scope["headers_by_name"] = headers
        status, why = self._judge(scope, scope["method"], path, headers)
        application = self._app if status == 200 else self._refuse(status, why)
        await application(scope, receive, send)

    def _judge(self, scope: Any, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        if headers.get("host", "") not in self._hosts:
            return 421, "this server does not go by that name"
        visitor = self._visitor(headers)
        scope["visitor"] = visitor
        if method not in _SAFE and not _from_here(headers):
            return 403, "this request comes from another page"
        if (method, path) in OPEN:
            return 200, ""
        if visitor is None:
            return 401, "this needs a valid token"
        return 200, ""

    def _visitor(self, headers: dict[str, str]) -> Visitor | None:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        session = None
        if scheme.lower() != "bearer":
            session = self._sessions.get(cookie_of(headers))
            text = session.text if session is not None else ""
        try:
            return Visitor(self._authenticator(text), session)
        except Unauthenticated:
            return None


def cookie_of(headers: dict[str, str]) -> str:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def csrf_is_right(visitor: Visitor, sent: str) -> bool:
    """A browser sends the session's CSRF token; who sends a token in a header is no browser led astray."""
    return visitor.session is None or hmac.compare_digest(visitor.session.csrf.encode(), sent.encode())


def _from_here(headers: dict[str, str]) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")
