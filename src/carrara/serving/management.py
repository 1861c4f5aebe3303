"""Who may change what a server serves over its ports: deployers, where it asks for tokens; else whoever is on this
machine and is no page of another site."""

from __future__ import annotations

from dataclasses import dataclass

from carrara.core.errors import AccessError
from carrara.core.identity import current_user
from carrara.serving.access_log import Headers
from carrara.serving.guard import Guard


@dataclass(frozen=True)
class Management:
    """`allowed` is whether the server was started so that it may be changed at all; `shared` whether other processes
    answer at its ports, which what is loaded in this one says nothing of."""

    allowed: bool = False
    guard: Guard | None = None
    shared: bool = False

    def require(self, headers: Headers) -> str:
        """The name of who asks; AccessError where they may not change anything."""
        self._require_allowed()
        if self.guard is not None:
            token = self.guard.check(str(headers.get("authorization") or ""))
            token.require("deployer")
            return token.name
        if headers.get("origin"):
            # A browser sends it along with whatever a page of any site makes it send to this machine.
            raise AccessError(
                "what is served is not changed from a page", hint="Ask without a browser, or with tokens."
            )
        return current_user()

    def require_alone(self, headers: Headers) -> str:
        """The same, for what changes this process only."""
        name = self.require(headers)
        self._require_one_process()
        return name

    def require_alone_over_grpc(self) -> None:
        """The same over gRPC, where the port has asked for a deployer's token (guard.py), and no page can ask."""
        self._require_allowed()
        self._require_one_process()

    def _require_allowed(self) -> None:
        if not self.allowed:
            raise AccessError("what this server serves is not changed over its ports", hint="Start it with --manage.")

    def _require_one_process(self) -> None:
        if self.shared:
            raise AccessError(
                "several processes answer at this port, and one of them would be changed",
                hint="Deploy instead, or serve with one process.",
            )


NO_MANAGEMENT = Management()
