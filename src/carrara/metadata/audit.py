"""The audit log: who did what to which object, appended in the transaction of the deed, each entry sealed by a digest.

An entry's digest covers the entry and the digest of the one before it, so that no entry can be changed, added or taken
out in the middle without `verify` seeing it. What is cut off at the end is seen by who kept the digest of an entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.digests import digest_data
from carrara.core.errors import CheckFailed
from carrara.core.identity import current_user
from carrara.metadata.store import Metadata
from carrara.metadata.tables import audit

_NOTHING = "0" * 64
_PAGE = 10_000


@dataclass(frozen=True)
class Entry:
    """One deed; `object` is an address such as `model:late@3`, `endpoint:late`, `run:ID`, `token:ID`."""

    number: int
    at: datetime
    who: str
    action: str
    object: str
    details: dict[str, Any]
    previous: str
    digest: str

    @property
    def expected_digest(self) -> str:
        told = [self.number, microseconds(self.at), self.who, self.action, self.object, self.details, self.previous]
        return digest_data(told)


@dataclass(frozen=True)
class Verified:
    """An unbroken log: how many entries, and the digest of the newest, which is worth keeping elsewhere."""

    entries: int
    digest: str


def record(connection: Connection, action: str, object: str, **details: Any) -> None:
    """Append an entry inside the transaction that does the deed; `details` are what JSON can hold."""
    newest = connection.execute(select(audit.c.number, audit.c.digest).order_by(audit.c.number.desc()).limit(1)).first()
    number, previous = (newest.number + 1, newest.digest) if newest else (1, _NOTHING)
    plain = msgspec.json.decode(msgspec.json.encode(details))
    at = from_microseconds(microseconds(now()))
    made = Entry(number, at, current_user(), action, object, plain, previous, digest="")
    values = {**vars(made), "at": microseconds(at), "digest": made.expected_digest}
    connection.execute(insert(audit).values(**values))


def list_entries(
    metadata: Metadata,
    *,
    object: str | None = None,
    action: str | None = None,
    who: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[Entry]:
    """The newest entries first; of one object, action or person only."""
    query = select(audit).order_by(audit.c.number.desc()).limit(limit).offset(offset)
    for column, wanted in ((audit.c.object, object), (audit.c.action, action), (audit.c.who, who)):
        query = query if wanted is None else query.where(column == wanted)
    with metadata.read() as connection:
        return [_entry(row) for row in connection.execute(query).mappings()]


def verify(metadata: Metadata, *, holds: str | None = None) -> Verified:
    """Follow the log from its first entry; CheckFailed names the first that is not what was written.

    `holds` is the digest of an entry that was kept elsewhere: it must be there.
    """
    number, previous, missing = 0, _NOTHING, holds is not None
    for entry in _all(metadata):
        if (entry.number, entry.previous, entry.digest) != (number + 1, previous, entry.expected_digest):
            raise CheckFailed(f"the audit log is not what was written, from entry {number + 1} on")
        number, previous = entry.number, entry.digest
        missing = missing and entry.digest != holds
    if missing:
        raise CheckFailed(f"the audit log has no entry with the digest {holds}: it was cut off")
    return Verified(number, previous)


def _all(metadata: Metadata) -> Iterator[Entry]:
    seen = 0
    while True:
        query = select(audit).where(audit.c.number > seen).order_by(audit.c.number).limit(_PAGE)
        with metadata.read() as connection:
            page = [_entry(row) for row in connection.execute(query).mappings()]
        if not page:
            return
        yield from page
        seen = page[-1].number


def _entry(row: Any) -> Entry:
    return Entry(**{**row, "at": from_microseconds(row["at"])})
