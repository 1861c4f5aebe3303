"""Who did what, and who may."""

from __future__ import annotations

from carrara.metadata.access import list_tokens
from carrara.metadata.audit import list_entries
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page


def audit(desk: Desk, asked: Asked) -> Page:
    """The audit log for everybody; the tokens for admins."""
    metadata = desk.workspace.stores.metadata
    filters = {name: asked.get(name) for name in ("object", "action", "who")}
    found = list_entries(metadata, limit=PAGE_ROWS + 1, offset=asked.offset, **filters)
    tokens = list_tokens(metadata)[:PAGE_ROWS] if asked.token.allows("admin") else []
    data = {
        "entries": [vars(entry) for entry in found[:PAGE_ROWS]],
        "tokens": [{**vars(token), "state": token.state(asked.at)} for token in tokens],
        "page": asked.page,
        "pages": asked.page + (len(found) > PAGE_ROWS),
        "total": None,
    }
    return Page("audit.html.j2", "Audit", data, {"filters": filters})
