"""Deployments: which model versions an endpoint serves, in which role, from when to when, by whom.

An endpoint has one primary version. A canary or the arms of a split take their shares of its traffic and the primary
answers the rest; a shadow is asked as well and never answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from carrara.core.clock import from_microseconds, microseconds, now
from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.figures import share as per_cent
from carrara.core.html import html_table
from carrara.core.identity import current_user
from carrara.metadata.aliases import point, pointed_at, refuse_deleted
from carrara.metadata.audit import record
from carrara.metadata.endpoint_events import add_event
from carrara.metadata.store import Metadata
from carrara.metadata.tables import deployments

Role = Literal["primary", "canary", "split", "shadow"]

CHAMPION = "champion"
_DEEDS = {"promoted": "promote", "rolled back": "roll back", "ended": "end"}


@dataclass(frozen=True)
class Deployment:
    """One version of an endpoint; `until` is how long it is watched, `by` names the inputs that a split sticks to.

    `share` is what a canary or an arm of a split takes; the primary has the rest.
    """

    endpoint: str
    model: str
    version: int
    deployed_by: str
    started_at: datetime
    ended_at: datetime | None
    role: Role = "primary"
    share: float = 1.0
    by: tuple[str, ...] = ()
    until: datetime | None = None
    id: int = 0

    @property
    def address(self) -> str:
        return f"{self.model}@{self.version}"

    def _repr_html_(self) -> str:
        row = (self.address, self.role, per_cent(self.share), self.deployed_by, self.started_at, self.ended_at)
        return html_table(self.endpoint, ["version", "role", "share", "by", "from", "to"], [row])


def deploy(
    metadata: Metadata,
    endpoint: str,
    model: str,
    version: int,
    *,
    alias: str | None = None,
    until: datetime | None = None,
) -> Deployment:
    """Make `endpoint` serve this version and no other from now on; what it served before ends at the same moment.

    In the same transaction `alias` is pointed at the version. It is watched `until` then. NotFoundError where the
    version was deleted meanwhile.
    """
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        served = book.current()
        if [(one.model, one.version) for one in served] == [(model, version)]:
            if alias is not None and pointed_at(connection, model).get(alias) != version:
                point(connection, model, alias, version)
            return served[0]
        made = book.crown(served, model, version, until, alias)
        add_event(connection, endpoint, "deployed", model, version)
        before = next((one.address for one in served if one.role == "primary"), None)
        record(connection, "deploy", f"endpoint:{endpoint}", serves=made.address, before=before)
    return made


def add_canary(
    metadata: Metadata, endpoint: str, version: int, *, share: float, by: Sequence[str], until: datetime
) -> Deployment:
    """Give a version of the primary's model a share of the traffic, to be judged `until` then.

    It takes the place of a canary or a split that is under way.
    """
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        primary = book.primary_beside(version)
        book.end(one for one in book.current() if one.role in ("canary", "split"))
        made = book.insert(primary.model, version, "canary", share, by, until)
        book.event("canary", made, [f"{share:.2%} of the traffic, until {until:%Y-%m-%d %H:%M:%S}Z"])
    return made


def add_shadow(metadata: Metadata, endpoint: str, version: int) -> Deployment:
    """Ask a version of the primary's model as well, and compare its answers."""
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        primary = book.primary_beside(version)
        book.end(one for one in book.current() if one.role == "shadow" and one.version == version)
        made = book.insert(primary.model, version, "shadow", 0.0)
        book.event("shadow", made)
    return made


def split(
    metadata: Metadata, endpoint: str, model: str, shares: Mapping[int, float], *, by: Sequence[str]
) -> list[Deployment]:
    """Share the traffic between versions of one model, sticky by the inputs `by`; shares add up to 1.

    The primary stays what it is where it is one of them, else it is the first.
    """
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        served = book.current()
        primary = next((one for one in served if one.role == "primary"), None)
        if primary is None or primary.model != model or primary.version not in shares:
            primary = book.crown(served, model, next(iter(shares)))
        book.end(one for one in served if one.role in ("canary", "split"))
        for version, share in shares.items():
            if version != primary.version:
                book.insert(model, version, "split", share, by)
        book.event("split", primary, [", ".join(f"{model}@{one} {share:.0%}" for one, share in shares.items())])
        return book.current()


def promote(metadata: Metadata, canary: Deployment, reasons: Sequence[str], *, until: datetime) -> bool:
    """Make a canary the primary; False where another process has decided on it meanwhile."""
    with metadata.begin() as connection:
        book = _Book(connection, canary.endpoint)
        served = book.current()
        if canary.id not in {one.id for one in served}:
            return False
        made = book.crown([one for one in served if one.role != "shadow"], canary.model, canary.version, until)
        book.event("promoted", made, reasons)
    return True


def roll_back(metadata: Metadata, endpoint: str, reasons: Sequence[str], *, of: Deployment | None = None) -> Deployment:
    """End what is being tried on an endpoint; where nothing is, go back to the version that was primary before.

    Returns what serves then. With `of`, that deployment is rolled back, and nothing happens where it has ended. Raises
    NotFoundError where nothing is served, CarraraError where there was no version before.
    """
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        served = book.current()
        primary = next((one for one in served if one.role == "primary"), None)
        if primary is None:
            raise NotFoundError("endpoint", endpoint, _names(connection))
        ended = [one for one in served if one.id == of.id] if of else _tried(served)
        if not ended:
            return primary
        for one in ended:
            book.event("rolled back", one, reasons)
        if primary not in ended:
            book.end(ended)
            return primary
        before = _before(connection, endpoint)
        if before is None:
            raise CarraraError(f"endpoint '{endpoint}' has served no version before {primary.address}")
        return book.crown(served, before.model, before.version)


def _tried(served: Sequence[Deployment]) -> list[Deployment]:
    """What a rollback ends: a canary or a split, else shadows, else the primary."""
    roles: Sequence[Role]
    for roles in (("canary", "split"), ("shadow",)):
        if found := [one for one in served if one.role in roles]:
            return found
    return [one for one in served if one.role == "primary"]


def previous(metadata: Metadata, endpoint: str) -> Deployment | None:
    """What a rollback of the primary would go back to."""
    with metadata.read() as connection:
        return _before(connection, endpoint)


def end_endpoint(metadata: Metadata, endpoint: str) -> None:
    """Serve nothing under this name any more."""
    with metadata.begin() as connection:
        book = _Book(connection, endpoint)
        served = book.current()
        if not served:
            raise NotFoundError("endpoint", endpoint, _names(connection))
        book.end(served)
        for one in served:
            book.event("ended", one)


def current_deployments(metadata: Metadata, endpoint: str | None = None) -> list[Deployment]:
    """What every endpoint serves now, or one; its primary first."""
    query = select(deployments).where(deployments.c.ended_at.is_(None))
    query = query if endpoint is None else query.where(deployments.c.endpoint == endpoint)
    with metadata.read() as connection:
        found = [_deployment(row) for row in connection.execute(query.order_by(deployments.c.id)).mappings()]
    return sorted(found, key=lambda one: (one.endpoint, one.role != "primary"))


def deployments_of(metadata: Metadata, model: str, version: int) -> list[Deployment]:
    """Every deployment of one model version, past ones too."""
    query = select(deployments).where(deployments.c.model == model, deployments.c.version == version)
    with metadata.read() as connection:
        return [_deployment(row) for row in connection.execute(query.order_by(deployments.c.id)).mappings()]


def deployments_at(metadata: Metadata, endpoint: str, limit: int = 50) -> list[Deployment]:
    """What an endpoint serves and served, the newest first."""
    query = select(deployments).where(deployments.c.endpoint == endpoint).order_by(deployments.c.id.desc()).limit(limit)
    with metadata.read() as connection:
        return [_deployment(row) for row in connection.execute(query).mappings()]


def history(metadata: Metadata, endpoint: str) -> list[Deployment]:
    """Everything that an endpoint has served, the oldest first; NotFoundError where it never was."""
    query = select(deployments).where(deployments.c.endpoint == endpoint).order_by(deployments.c.id)
    with metadata.read() as connection:
        found = [_deployment(row) for row in connection.execute(query).mappings()]
        if not found:
            raise NotFoundError("endpoint", endpoint, _names(connection))
    return found


class _Book:
    """What is written of one endpoint in one transaction, all at one moment."""

    def __init__(self, connection: Connection, endpoint: str) -> None:
        self._connection, self._endpoint, self._moment = connection, endpoint, microseconds(now())

    def current(self) -> list[Deployment]:
        wanted = (deployments.c.endpoint == self._endpoint) & deployments.c.ended_at.is_(None)
        rows = self._connection.execute(select(deployments).where(wanted).order_by(deployments.c.id)).mappings()
        return [_deployment(row) for row in rows]

    def primary_beside(self, version: int) -> Deployment:
        """The primary that `version` is tried beside."""
        found = next((one for one in self.current() if one.role == "primary"), None)
        if found is None:
            hint = f"Deploy the version that answers first: carrara deploy MODEL@VERSION --to {self._endpoint}"
            raise NotFoundError("endpoint", self._endpoint, hint=hint)
        if found.version == version:
            raise CarraraError(f"{found.address} is what '{self._endpoint}' serves already")
        return found

    def crown(
        self,
        served: Iterable[Deployment],
        model: str,
        version: int,
        until: datetime | None = None,
        alias: str | None = CHAMPION,
    ) -> Deployment:
        """The version as the primary, and its model's champion, in the place of what was served."""
        self.end(served)
        if alias is not None and pointed_at(self._connection, model).get(alias) != version:
            point(self._connection, model, alias, version)
        return self.insert(model, version, "primary", until=until)

    def insert(
        self,
        model: str,
        version: int,
        role: Role,
        share: float = 1.0,
        by: Sequence[str] = (),
        until: datetime | None = None,
    ) -> Deployment:
        refuse_deleted(self._connection, model, version)
        values = {
            "endpoint": self._endpoint,
            "model": model,
            "version": version,
            "deployed_by": current_user(),
            "started_at": self._moment,
            "role": role,
            "share": share,
            "by": list(by),
            "until": None if until is None else microseconds(until),
        }
        key = self._connection.execute(insert(deployments).values(**values)).inserted_primary_key
        return _deployment({**values, "ended_at": None, "id": key[0] if key else 0})

    def end(self, some: Iterable[Deployment]) -> None:
        ids = [one.id for one in some]
        changed = update(deployments).where(deployments.c.id.in_(ids), deployments.c.ended_at.is_(None))
        self._connection.execute(changed.values(ended_at=self._moment))

    def event(self, kind: str, of: Deployment, reasons: Sequence[str] = ()) -> None:
        add_event(self._connection, self._endpoint, kind, of.model, of.version, reasons)
        deed = _DEEDS.get(kind, kind)
        record(self._connection, deed, f"endpoint:{self._endpoint}", version=of.address, reasons=list(reasons))


def _before(connection: Connection, endpoint: str) -> Deployment | None:
    """The primary before the current one: a return to an earlier version takes the later one off the stack."""
    rows = select(deployments).where(deployments.c.endpoint == endpoint, deployments.c.role == "primary")
    stack: list[Deployment] = []
    for row in connection.execute(rows.order_by(deployments.c.id)).mappings():
        one = _deployment(row)
        if len(stack) > 1 and stack[-2].address == one.address:
            stack.pop()
        elif not stack or stack[-1].address != one.address:
            stack.append(one)
    return stack[-2] if len(stack) > 1 else None


def _names(connection: Connection) -> list[str]:
    query = select(deployments.c.endpoint).where(deployments.c.ended_at.is_(None)).distinct()
    return [row.endpoint for row in connection.execute(query)]


def _deployment(row: Any) -> Deployment:
    ended, until = row["ended_at"], row["until"]
    return Deployment(
        **{
            **row,
            "started_at": from_microseconds(row["started_at"]),
            "ended_at": from_microseconds(ended) if ended is not None else None,
            "until": from_microseconds(until) if until is not None else None,
            "by": tuple(row["by"] or ()),
        }
    )
