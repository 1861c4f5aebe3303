"""Lineage: from a source to a prediction, as a graph."""

from __future__ import annotations

from collections.abc import Iterable

from carrara.metadata.lineage import Edge, downstream, upstream
from carrara.metadata.versions import newest_of_each
from carrara.models.registry import KIND
from carrara.ui.desk import Desk
from carrara.ui.graph import draw
from carrara.ui.page import Asked, Page, address

_MOST_EDGES = 250
NOUNS = {"dataset": "datasets", "model": "models"}


def graph(desk: Desk, asked: Asked) -> Page:
    metadata = desk.workspace.stores.metadata
    of = asked.get("of")
    if of is None:
        newest = [f"{KIND}:{found.name}@{found.version}" for found, _ in newest_of_each(metadata, KIND, limit=20)]
        return Page("lineage.html.j2", "Lineage", {"of": None, "edges": [], "newest": newest, "more": 0})
    edges = list(dict.fromkeys([*upstream(metadata, of), *downstream(metadata, of), *_served(desk, of)]))
    pairs = list(dict.fromkeys((edge.source, edge.target) for edge in edges))
    shown = pairs[:_MOST_EDGES]
    data = {
        "of": of,
        "edges": [{"source": source, "target": target} for source, target in shown],
        "newest": [],
        "more": len(pairs) - len(shown),
    }
    return Page("lineage.html.j2", f"Lineage of {of}", data, {"graph": draw(shown, of), "where": where})


def where(name: str) -> str | None:
    """The page of a node, where it has one."""
    kind, _, rest = name.partition(":")
    thing, _, version = rest.rpartition("@")
    if kind == "endpoint":
        return address("endpoints", rest)
    if kind == "predictions":
        return address("monitoring", thing, version)
    return address(NOUNS[kind], thing, version) if kind in NOUNS and thing else None


def _served(desk: Desk, of: str) -> Iterable[Edge]:
    """What follows after a version: the endpoints that serve or served it, and the predictions that it made."""
    from carrara.metadata.deployments import deployments_of

    metadata = desk.workspace.stores.metadata
    reached = {of, *(edge.target for edge in downstream(metadata, of))}
    for name in reached:
        kind, _, rest = name.partition(":")
        model, _, version = rest.rpartition("@")
        if kind == KIND and version.isdigit():
            for one in deployments_of(metadata, model, int(version)):
                yield Edge(name, f"endpoint:{one.endpoint}", "")
                yield Edge(f"endpoint:{one.endpoint}", f"predictions:{rest}", "")
