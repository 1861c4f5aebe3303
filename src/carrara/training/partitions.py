"""Partitioned models: one model per value of some features, in one version, with parents where rows are too few.

The tree of nodes goes by the features in their order: `("country", "city")` makes a model per city, one per country,
and the root, of all rows. A row is answered by the node of its longest prefix that there is (as Michelangelo's
partitioned models were).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import polars as pl

from carrara.core.errors import NotFoundError, TrainingError
from carrara.data.rows import Rows
from carrara.models.runtimes.partitioned import INDEX, NODE
from carrara.models.signature import Signature, TensorSpec
from carrara.training.fit import FittedModel, Prepared, fit_model, fit_prepared
from carrara.training.model import Model
from carrara.training.transforms.base import EVERY
from carrara.training.transforms.texts import NGrams, OneHot, Vocabulary

_FORMAT = "partitioned"


_ROOT = "(all)"

_FITTED = "fitted.json"
"""The file of a node with what there is to tell of its fit, so that another version can take it over."""


@dataclass(frozen=True)
class _Node:
    """A node, fitted now or taken over from the version that is `kept`."""

    key: tuple[str, ...]
    rows: int
    fitted: FittedModel
    kept: str | None = None

    @property
    def name(self) -> str:
        return "/".join(self.key) or _ROOT


@dataclass(frozen=True)
class FormerNodes:
    """The nodes of a version, as its `files` and what it has `learned`; its address is what they are kept from."""

    address: str
    files: Mapping[str, bytes]
    learned: Mapping[str, bytes]

    def nodes(self) -> list[_Node]:
        """Raises TrainingError where the version is of one model, or does not tell of its nodes' fits."""
        if INDEX not in self.files:
            raise TrainingError(f"{self.address} is one model, and has no nodes", hint="Train it without --node.")
        return [self._node(one) for one in msgspec.json.decode(self.files[INDEX])["nodes"]]

    def _node(self, one: Mapping[str, Any]) -> _Node:
        folder = f"{one['folder']}/"
        files, learned = (
            {name.removeprefix(folder): data for name, data in given.items() if name.startswith(folder)}
            for given in (self.files, self.learned)
        )
        if _FITTED not in learned:
            raise TrainingError(
                f"{self.address} was trained by an earlier release, which did not tell of each node",
                hint="Train the whole model once.",
            )
        told: dict[str, Any] = msgspec.json.decode(learned.pop(_FITTED))
        told |= {name: tuple(told[name]) for name in _TUPLES}
        fitted = FittedModel(
            format=one["format"],
            files=files,
            learned=learned,
            signature=Signature.from_dict(one["signature"]),
            **told,
        )
        return _Node(tuple(one["key"]), one["rows"], fitted, one.get("kept") or self.address)


_TUPLES = ("classes", "libraries", "warnings")
_TOLD = (*_TUPLES, "importance", "curve", "summary", "export")


def inner_features(model: Model, features: tuple[str, ...]) -> tuple[str, ...]:
    """The features of each node's model: those of the partition only where a transform takes them."""
    return tuple(name for name in features if name not in model.partition_by or _is_transformed(model, name))


def fit_partitioned(
    model: Model, features: tuple[str, ...], parts: Mapping[str, Rows], root: Prepared, advance: Advance
) -> FittedModel:
    """The root by what was prepared of all rows, then every node that has enough.

    Raises TrainingError where the root cannot be learned; a node that cannot is left to its parent, and told.
    """
    _check(model, parts["train"].schema)
    tables = _tables(model, features, parts)
    nodes = [_Node((), parts["train"].height, fit_prepared(model, root))]
    left: dict[str, str] = {}
    inner, groups = inner_features(model, features), list(_groups(model, tables["train"]))
    for number, (key, rows) in enumerate(groups, start=1):
        mine = {name: _of(part, model.partition_by, key) for name, part in tables.items()}
        try:
            nodes.append(_Node(key, rows, fit_model(model, inner, mine)))
        except TrainingError as error:
            left["/".join(key)] = error.message
        advance(number, len(groups))
    return _joined(model, features, nodes, left)


def refit_nodes(
    model: Model, features: tuple[str, ...], parts: Mapping[str, Rows], former: FormerNodes, names: tuple[str, ...]
) -> FittedModel:
    """A version's nodes with those that are named fitted anew, or added: the files of all others are as they were.

    Raises NotFoundError for a node that is not there, nor has enough rows; TrainingError for one that cannot be learned
    or would take, or give, something else than it did.
    """
    _check(model, parts["train"].schema)
    nodes, inner = {node.name: node for node in former.nodes()}, inner_features(model, features)
    tables = _tables(model, features, parts)
    counts = {"/".join(key): (key, rows) for key, rows in _groups(model, tables["train"])}
    counts[_ROOT] = ((), parts["train"].height)
    by = tuple(msgspec.json.decode(former.files[INDEX])["by"])
    if by != model.partition_by:
        raise TrainingError(f"{former.address} is partitioned by {', '.join(by)}", hint="Train the whole model.")
    for name in names:
        if name not in counts:
            raise NotFoundError(f"node with at least {model.partition_rows:,} training rows", name, counts)
        key, rows = counts[name]
        mine = {part: _of(table, model.partition_by, key) for part, table in tables.items()}
        made = fit_model(model, inner, mine)
        root = nodes[_ROOT].fitted
        if (made.signature.inputs, made.classes) != (root.signature.inputs, root.classes):
            raise TrainingError(
                f"the node '{name}' would take other features, or know other classes, than those of {former.address}",
                hint="Train the whole model.",
            )
        nodes[name] = _Node(key, rows, made)
    ordered = sorted(nodes.values(), key=lambda node: (len(node.key), node.key))
    return _joined(model, features, ordered, {})


Advance = Callable[[int, int], None]


def _tables(model: Model, features: tuple[str, ...], parts: Mapping[str, Rows]) -> dict[str, pl.DataFrame]:
    """The parts in memory, with what fits of nodes look at."""
    beside = filter(None, (*model.label.columns, model.label.group, model.weight))
    needed = list(dict.fromkeys((*features, *beside)))
    return {name: part.select(needed) for name, part in parts.items()}


def _check(model: Model, schema: pl.Schema) -> None:
    for name in model.partition_by:
        if schema[name] != pl.String:
            raise TrainingError(
                f"'{name}', which model '{model.name}' is partitioned by, is no text",
                hint="Make it one in its view's function.",
            )


def _is_transformed(model: Model, name: str) -> bool:
    for transform in model.transforms:
        named = getattr(transform, "columns", ())
        if name == named or (named != EVERY and name in named):
            return True
        if named == EVERY and isinstance(transform, OneHot | Vocabulary | NGrams):
            return True
    return False


def _groups(model: Model, rows: pl.DataFrame) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every node below the root with enough rows, parents first."""
    for level in range(1, len(model.partition_by) + 1):
        names = list(model.partition_by[:level])
        counts = rows.drop_nulls(names).group_by(names).len("rows").filter(pl.col("rows") >= model.partition_rows)
        for *key, height in counts.sort(names).iter_rows():
            yield tuple(key), height


def _of(rows: pl.DataFrame, names: tuple[str, ...], key: tuple[str, ...]) -> pl.DataFrame:
    return rows.filter(*(pl.col(name) == value for name, value in zip(names, key, strict=False)))


def _joined(model: Model, features: tuple[str, ...], nodes: list[_Node], left: Mapping[str, str]) -> FittedModel:
    root = nodes[0].fitted
    files: dict[str, bytes] = {}
    learned: dict[str, bytes] = {}
    index = []
    for number, node in enumerate(nodes):
        folder = f"nodes/{number}"
        files |= {f"{folder}/{name}": data for name, data in node.fitted.files.items()}
        learned |= {f"{folder}/{name}": data for name, data in node.fitted.learned.items()}
        learned[f"{folder}/{_FITTED}"] = msgspec.json.encode({name: getattr(node.fitted, name) for name in _TOLD})
        described = {"key": list(node.key), "name": node.name, "rows": node.rows, "folder": folder}
        described |= {"kept": node.kept} if node.kept else {}
        index.append({**described, "format": node.fitted.format, "signature": node.fitted.signature.as_dict()})
    told = {"by": list(model.partition_by), "nodes": index}
    files[INDEX] = msgspec.json.encode(told)
    summary: dict[str, Any] = {
        **root.summary,
        "nodes": [{k: one[k] for k in ("name", "rows", "format", "kept") if k in one} for one in index],
    }
    texts = tuple(TensorSpec(name, "string") for name in features if name in model.partition_by)
    known = {spec.name: spec for spec in (*root.signature.inputs, *texts)}
    return replace(
        root,
        format=_FORMAT,
        files=files,
        learned=learned,
        signature=Signature(
            tuple(known[name] for name in features), (*root.signature.outputs, TensorSpec(NODE, "string"))
        ),
        importance={name: _mean_importance(nodes, name) for name in features},
        summary={**summary, "left_to_parents": dict(left)},
        export=_proved([node.fitted.export for node in nodes]),
        warnings=tuple(dict.fromkeys(warning for node in nodes for warning in node.fitted.warnings)),
    )


def _mean_importance(nodes: list[_Node], name: str) -> float:
    """By the rows of each node."""
    total = sum(node.rows for node in nodes)
    return sum(node.rows * node.fitted.importance.get(name, 0.0) for node in nodes) / total


def _proved(proofs: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The proofs of all nodes as one: the worst, over all rows."""
    worst = max(proofs, key=lambda proof: (not proof["equal"], proof.get("largest_difference", 0.0)))
    return {**worst, "rows": sum(proof["rows"] for proof in proofs), "nodes": len(proofs)}
