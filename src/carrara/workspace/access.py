"""`ws.access`: tokens, and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from carrara.metadata.access import Token, authenticate, create_token, list_tokens, revoke_token
from carrara.metadata.audit import Entry, Verified, list_entries, verify

if TYPE_CHECKING:
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Access:
    """Who may do what in a workspace, and who did."""

    workspace: Workspace

    def create_token(self, name: str, role: str, *, lasts: timedelta | None = None) -> tuple[Token, str]:
        """A new token and its text, which is shown this once. Roles: viewer, editor, deployer, admin."""
        return create_token(self.workspace.stores.metadata, name, role, lasts=lasts)

    def authenticate(self, text: str) -> Token:
        """The valid token that a text is; raises Unauthenticated."""
        return authenticate(self.workspace.stores.metadata, text)

    def tokens(self) -> list[Token]:
        """Every token there ever was, the newest first."""
        return list_tokens(self.workspace.stores.metadata)

    def revoke_token(self, which: str) -> Token:
        """End a token, by its id or its name."""
        return revoke_token(self.workspace.stores.metadata, which)

    def audit(
        self,
        *,
        object: str | None = None,
        action: str | None = None,
        who: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Entry]:
        """Who did what to which object, the newest first."""
        metadata = self.workspace.stores.metadata
        return list_entries(metadata, object=object, action=action, who=who, limit=limit, offset=offset)

    def verify_audit(self, *, holds: str | None = None) -> Verified:
        """Whether the audit log is what was written; raises CheckFailed. `holds` is a digest kept elsewhere."""
        return verify(self.workspace.stores.metadata, holds=holds)
