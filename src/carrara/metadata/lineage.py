"""Lineage: which version was made from which, as edges between addresses such as `dataset:flights@3`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from carrara.core.clock import microseconds, now
from carrara.metadata.store import Metadata
from carrara.metadata.tables import lineage

FOLDER = "folder"
_LONGEST = 290


@dataclass(frozen=True)
class Edge:
    """`target` was made from `source` by the run."""

    source: str
    target: str
    run_id: str

    def as_dict(self) -> dict[str, Any]:
        return {"source": self.source, "target": self.target, "run": self.run_id}


def folder_address(path: Path) -> str:
    """The address of a folder that a version was pushed to; of a very long path its end."""
    return f"{FOLDER}:{str(path.resolve())[-_LONGEST:]}"


def add_edges(connection: Connection, edges: Sequence[Edge]) -> None:
    """Add edges inside the transaction that makes their target."""
    if edges:
        at = microseconds(now())
        connection.execute(insert(lineage), [{**vars(edge), "at": at} for edge in dict.fromkeys(edges)])


def edges_of(metadata: Metadata, address: str, limit: int = 200) -> list[Edge]:
    """The edges that begin or end at `address` itself."""
    here = (lineage.c.source == address) | (lineage.c.target == address)
    with metadata.read() as connection:
        rows = connection.execute(select(lineage).where(here).order_by(lineage.c.id).limit(limit))
        return [Edge(row.source, row.target, row.run_id) for row in rows]


def edges_from(metadata: Metadata, kind: str) -> list[Edge]:
    """Every edge that begins at a version of a kind."""
    # A range, and not LIKE, finds them by the index: a semicolon is what follows a colon.
    named = (lineage.c.source >= f"{kind}:") & (lineage.c.source < f"{kind};")
    with metadata.read() as connection:
        return [Edge(row.source, row.target, row.run_id) for row in connection.execute(select(lineage).where(named))]


def made_by(metadata: Metadata, run_id: str, limit: int = 200) -> list[str]:
    """What a run has made, in the order in which it did."""
    query = select(lineage.c.target).where(lineage.c.run_id == run_id).order_by(lineage.c.id).limit(limit)
    with metadata.read() as connection:
        return list(dict.fromkeys(connection.execute(query).scalars()))


def edges_by(metadata: Metadata, run_id: str) -> list[Edge]:
    """The edges that a run has made."""
    query = select(lineage).where(lineage.c.run_id == run_id).order_by(lineage.c.id)
    with metadata.read() as connection:
        return [Edge(row.source, row.target, row.run_id) for row in connection.execute(query)]


def upstream(metadata: Metadata, address: str, hops: int | None = None) -> list[Edge]:
    """Every edge that leads to `address` in so many steps, by default in any number; nearest first, each once."""
    return _walk(metadata, address, lineage.c.target, "source", hops)


def downstream(metadata: Metadata, address: str, hops: int | None = None) -> list[Edge]:
    """Every edge that starts from `address` or from what was made of it, nearest first."""
    return _walk(metadata, address, lineage.c.source, "target", hops)


def _walk(metadata: Metadata, start: str, column: Any, onward: str, hops: int | None) -> list[Edge]:
    found: dict[Edge, None] = {}
    frontier, seen, steps = [start], {start}, 0
    with metadata.read() as connection:
        while frontier and (hops is None or steps < hops):
            steps += 1
            rows = connection.execute(select(lineage).where(column.in_(frontier)).order_by(lineage.c.id))
            edges = [Edge(row.source, row.target, row.run_id) for row in rows]
            found.update(dict.fromkeys(edges))
            frontier = list(dict.fromkeys(n for e in edges if (n := getattr(e, onward)) not in seen))
            seen.update(frontier)
    return list(found)
