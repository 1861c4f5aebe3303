"""Traces: what a model, a dataset, a feature or a prediction was made from, and what was made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from carrara.core.errors import NotFoundError
from carrara.features.offline import KIND as FEATURE_TABLE
from carrara.features.training_set import KIND as TRAINING_SET
from carrara.metadata.deployments import deployments_of
from carrara.metadata.lineage import FOLDER, Edge, downstream, folder_address, upstream
from carrara.metadata.versions import find_version, get_version, list_versions, names
from carrara.models.registry import KIND as MODEL, resolve
from carrara.monitoring.prediction_log import log_table
from carrara.storage.stores import Stores

_PREDICTION = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KINDS = (MODEL, "dataset", TRAINING_SET, FEATURE_TABLE)


@dataclass(frozen=True)
class Trace:
    """The edges that lead to `address` and those that start from it, as far as `hops`."""

    address: str
    up: Sequence[Edge]
    down: Sequence[Edge]
    hops: int | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "hops": self.hops,
            "nodes": self.nodes,
            "upstream": [edge.as_dict() for edge in self.up],
            "downstream": [edge.as_dict() for edge in self.down],
            "made_from": _tree(self.address, self.up, "target", "source"),
            "made_into": _tree(self.address, self.down, "source", "target"),
        }

    def sources(self, kind: str) -> list[str]:
        """The addresses of a kind, such as `dataset`, that it was made from; nearest first."""
        return [one for one in dict.fromkeys(edge.source for edge in self.up) if one.partition(":")[0] == kind]

    def targets(self, kind: str) -> list[str]:
        """The addresses of a kind that were made from it; nearest first."""
        return [one for one in dict.fromkeys(edge.target for edge in self.down) if one.partition(":")[0] == kind]

    @property
    def nodes(self) -> list[str]:
        """Every address in it once, this one first."""
        ends = (end for edge in (*self.up, *self.down) for end in (edge.source, edge.target))
        return list(dict.fromkeys((self.address, *ends)))


def trace(stores: Stores, what: str, hops: int | None = None) -> Trace:
    """The lineage of `late@1`, `models:/late@champion`, `dataset:trips@2`, `trips`, `view:feature`, a prediction's id,
    or of the path of a folder that was pushed.

    NotFoundError for what nobody has made.
    """
    address, first_up, first_down = _begin(stores, what)
    up, down = list(first_up), list(first_down)
    rest = None if hops is None else hops - 1
    if up or down:
        for edge in first_up:
            up += upstream(stores.metadata, edge.source, rest)
        for edge in first_down:
            down += downstream(stores.metadata, edge.target, rest)
    else:
        up, down = upstream(stores.metadata, address, hops), downstream(stores.metadata, address, hops)
    reached = {address, *(edge.target for edge in down)}
    down += [edge for node in sorted(reached) for edge in _endpoints(stores, node)] if hops is None or hops > 1 else []
    return Trace(address, tuple(dict.fromkeys(up)), tuple(dict.fromkeys(down)), hops)


def _begin(stores: Stores, what: str) -> tuple[str, list[Edge], list[Edge]]:
    """The address that is meant, and edges of it that are not written down as such."""
    kind, _, rest = what.partition(":")
    if _PREDICTION.fullmatch(what.removeprefix("prediction:")):
        return _prediction(stores, what.removeprefix("prediction:"))
    if kind in _KINDS and rest:
        return _version_address(stores, kind, rest), [], []
    if kind == "feature" or ("/" not in what and kind and rest and kind in names(stores.metadata, FEATURE_TABLE)):
        return _feature(stores, rest if kind == "feature" else what)
    if "@" not in what and what in names(stores.metadata, "dataset") and what not in names(stores.metadata, MODEL):
        return _version_address(stores, "dataset", what), [], []
    if kind == "file":
        return what, [], []
    if kind == FOLDER or what.startswith(("/", "./", "../")):
        return _folder(stores, Path(what.removeprefix(f"{FOLDER}:"))), [], []
    return f"{MODEL}:{resolve(stores, what)}", [], []


def _version_address(stores: Stores, kind: str, name: str) -> str:
    if kind == MODEL:
        return f"{MODEL}:{resolve(stores, name)}"
    base, _, number = name.partition("@")
    return get_version(stores.metadata, kind, base, int(number) if number.isdigit() else None).address


def _folder(stores: Stores, path: Path) -> str:
    address = folder_address(path)
    if not upstream(stores.metadata, address, 1):
        raise NotFoundError(
            "folder that was pushed", str(path), hint="carrara lineage late@3 names those of a version."
        )
    return address


def _feature(stores: Stores, reference: str) -> tuple[str, list[Edge], list[Edge]]:
    """A feature comes from its view's newest table, and goes into the training sets that have it as a column."""
    view, _, name = reference.partition(":")
    table = find_version(stores.metadata, FEATURE_TABLE, view)
    kept = list_versions(stores.metadata, TRAINING_SET)
    sets = [one for one in kept if reference in one.record["columns"]]
    if not sets and (table is None or name not in table.record["statistics"]):
        raise NotFoundError("feature", reference, {c for one in kept for c in one.record["columns"] if ":" in c})
    address = f"feature:{reference}"
    up = [Edge(table.address, address, table.run_id)] if table is not None else []
    return address, up, [Edge(address, one.address, one.run_id) for one in sets]


def _prediction(stores: Stores, identifier: str) -> tuple[str, list[Edge], list[Edge]]:
    """A prediction comes from the version that answered it, as the log has it."""
    address = f"prediction:{identifier}"
    for model in names(stores.metadata, MODEL):
        if not stores.lake.exists(log_table(model)):
            continue
        rows = stores.lake.scan(log_table(model)).filter(pl.col("prediction_id") == identifier)
        found = rows.select("version").head(1).collect()
        if found.height:
            return address, [Edge(f"{MODEL}:{model}@{found.item()}", address, "")], []
    raise NotFoundError("prediction", identifier, hint="It was not logged, or not shipped to the lake yet.")


def _endpoints(stores: Stores, node: str) -> Iterator[Edge]:
    """Where a model version serves, or has served."""
    kind, _, rest = node.partition(":")
    name, _, number = rest.rpartition("@")
    if kind == MODEL and number.isdigit():
        for found in deployments_of(stores.metadata, name, int(number)):
            yield Edge(node, f"endpoint:{found.endpoint}", "")


def _tree(root: str, edges: Sequence[Edge], here: str, onward: str) -> dict[str, Any]:
    """The edges as a tree; what was shown already is named again without its branches."""
    branches: dict[str, list[str]] = {}
    for edge in edges:
        branches.setdefault(getattr(edge, here), []).append(getattr(edge, onward))
    return _grown(root, branches, set())


def _grown(node: str, branches: Mapping[str, Sequence[str]], seen: set[str]) -> dict[str, Any]:
    if node in seen:
        return {"address": node, "shown_above": node in branches, "next": []}
    seen.add(node)
    following = dict.fromkeys(branches.get(node, ()))
    return {"address": node, "shown_above": False, "next": [_grown(one, branches, seen) for one in following]}
