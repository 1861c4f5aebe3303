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

from carrara.core.errors import TrainingError
from carrara.data.rows import Rows
from carrara.models.runtimes.partitioned import INDEX, NODE
from carrara.models.signature import Signature, TensorSpec
from carrara.training.fit import FittedModel, Prepared, fit_model, fit_prepared
from carrara.training.model import Model
from carrara.training.transforms.base import EVERY
from carrara.training.transforms.texts import NGrams, OneHot, Vocabulary

_FORMAT = "partitioned"


@dataclass(frozen=True)
class _Node:
    key: tuple[str, ...]
    rows: int
    fitted: FittedModel

    @property
    def name(self) -> str:
        return "/".join(self.key) or "(all)"


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
    beside = filter(None, (*model.label.columns, model.label.group, model.weight))
    needed = dict.fromkeys((*features, *beside))
    tables = {name: part.select(list(needed)) for name, part in parts.items()}
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


Advance = Callable[[int, int], None]


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
        described = {"key": list(node.key), "name": node.name, "rows": node.rows, "folder": folder}
        index.append({**described, "format": node.fitted.format, "signature": node.fitted.signature.as_dict()})
    told = {"by": list(model.partition_by), "nodes": index}
    files[INDEX] = msgspec.json.encode(told)
    summary: dict[str, Any] = {
        **root.summary,
        "nodes": [{k: one[k] for k in ("name", "rows", "format")} for one in index],
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
