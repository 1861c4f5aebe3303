"""The tree viewer: the trees of a version, with the rows of its training set at their nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
import polars as pl

from carrara.core.columns import require_column
from carrara.core.errors import CarraraError, NotFoundError, StorageError
from carrara.features.training_set import kept_training_set
from carrara.models.bundle_file import read_bundle
from carrara.models.learned.forest import Array, Forest, read_forest
from carrara.models.learned.parameters import told_parameters
from carrara.models.learned.tree_view import RowPath, Seen, TreeView, gain_shares, row_path, view_tree
from carrara.models.record import check_record_format
from carrara.models.registry import ModelVersion, learned_files, read_record, recorded_definitions
from carrara.models.runtimes.base import COLUMNS, TRANSFORMS
from carrara.models.runtimes.onnx import Matrix
from carrara.models.runtimes.partitioned import INDEX
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import LEARNED, RECORD, SERVABLE
from carrara.pipelines.what_if import typical_values, what_if
from carrara.storage.stores import Stores
from carrara.training.labels import encoded
from carrara.training.model import Model


@dataclass(frozen=True)
class Trees:
    """The trees of a version, and the matrix that they split: the names of its columns, and how features become it."""

    version: str
    forest: Forest
    columns: tuple[str, ...]
    signature: Signature
    classes: tuple[str, ...]
    transforms: bytes | None
    typical: Mapping[str, Any] = field(default_factory=dict)
    seen: Seen | None = None

    def view(self, number: int) -> TreeView:
        """One tree; NotFoundError says how many there are."""
        if not 0 <= number < len(self.forest.trees):
            there = f"{self.version} has trees 0 to {len(self.forest.trees) - 1}."
            raise NotFoundError("tree", str(number), hint=there)
        return view_tree(self.forest, self.columns, number, classes=self.classes, seen=self.seen)

    def table(self) -> list[dict[str, Any]]:
        """Every tree in a line: its size, its share of the gain of all, and what it splits by most."""
        gains = [float(tree.gain[tree.left >= 0].sum()) for tree in self.forest.trees]
        total = sum(gains) or 1.0
        return [
            {
                "tree": number,
                "output": self.classes[tree.output] if len(self.forest.base) > 1 else None,
                "leaves": tree.leaves,
                "depth": int(tree.depths().max()),
                "gain": gain / total,
                "features": gain_shares(tree, self.columns),
            }
            for number, (tree, gain) in enumerate(zip(self.forest.trees, gains, strict=True))
        ]

    def row(self, told: Mapping[str, str]) -> pl.DataFrame:
        """A row of features that somebody thinks of: those that are not `told` are as in the middle of training."""
        return what_if(self.signature, self.typical, told, self.version)

    def paths(self, rows: pl.DataFrame, tree: int | None = None) -> list[RowPath]:
        """The way of each row of features; ColumnMissing names a feature that is not there."""
        matrix = matrix_of(self.signature, self.transforms, rows)
        return [row_path(self.forest, matrix, number, tree) for number in range(len(matrix))]


def read_trees(stores: Stores, version: ModelVersion, *, node: str | None = None, seen: bool = False) -> Trees:
    """The trees of a version, read without the framework that grew them; CarraraError where it has none.

    Of a partitioned model those of a `node`, by default of the root. With `seen`, the training rows come by, where the
    training set is still there.
    """
    record = read_record(stores, version)
    with _readable(str(version)):
        place = _place(stores, version, node)
        trees = _trees(str(version), record, learned_files(stores, version), place)
        return replace(trees, seen=_seen(stores, version, record, trees, place)) if seen else trees


def trees_of_bundle(file: Path, *, node: str | None = None) -> Trees:
    """The trees of a version that was exported as one file: no workspace, no training rows. Raises as `read_trees`, and
    CorruptArtifact for a file that is not what its digest says."""
    index, files = read_bundle(file)
    whose = f"{index.model}@{index.version}"
    with _readable(whose):
        record = check_record_format(msgspec.json.decode(files[RECORD]), whose)
        place = _place_in(index.format, files.get(f"{SERVABLE}{INDEX}", b""), whose, node)
        learned = {name.removeprefix(LEARNED): data for name, data in files.items() if name.startswith(LEARNED)}
        return _trees(whose, record, learned, place)


def _trees(whose: str, record: Mapping[str, Any], files: Mapping[str, bytes], place: _Place) -> Trees:
    learned = {name.removeprefix(place.folder): data for name, data in files.items() if name.startswith(place.folder)}
    forest = read_forest(learned)
    if forest is None:
        raise CarraraError(
            f"{whose} has no trees that can be read",
            hint=f"Those of XGBoost, LightGBM and scikit-learn can. It has: carrara model parameters {whose}",
        )
    signature = place.signature or Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    classes = tuple(record["parameters"].get("classes", ()))
    columns, transforms = tuple(msgspec.json.decode(learned[COLUMNS])), learned.get(TRANSFORMS)
    return Trees(whose, forest, columns, signature, classes, transforms, typical_values(record))


def learned_parameters(stores: Stores, version: ModelVersion, *, node: str | None = None) -> dict[str, Any]:
    """What a version has learned, told by its kind; of a partitioned one what a node has (by default the first)."""
    with _readable(str(version)):
        place = _place(stores, version, node)
        files = learned_files(stores, version)
        learned = {n.removeprefix(place.folder): d for n, d in files.items() if n.startswith(place.folder)}
        return told_parameters(learned)


@contextmanager
def _readable(whose: str) -> Iterator[None]:
    """What cannot be read in the files of a version, as an error for people."""
    try:
        yield
    except CarraraError:
        raise
    except (msgspec.DecodeError, ValueError, KeyError, EOFError, BadZipFile) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"what {whose} has learned cannot be read: {said}") from error


def largest_trees(stores: Stores, version: ModelVersion, most: int = 8) -> list[TreeView]:
    """The trees of a version that have gained most, in their order; empty where it has none."""
    prefix = _place(stores, version, None).folder
    try:
        with _readable(str(version)):
            forest = read_forest({n.removeprefix(prefix): data for n, data in learned_files(stores, version).items()})
    except CarraraError:  # trees of a kind that cannot be read, of an imported model
        return []
    if forest is None:
        return []
    trees = read_trees(stores, version, seen=True)
    largest = sorted(trees.table(), key=lambda tree: -tree["gain"])[:most]
    return [trees.view(number) for number in sorted(tree["tree"] for tree in largest)]


def matrix_of(signature: Signature, transforms: bytes | None, rows: pl.DataFrame) -> Array:
    """What a trainer was given of rows of features, float32 of shape (rows, columns); ColumnMissing names a feature
    that is not there."""
    for spec in signature.inputs:
        require_column(rows.schema, spec.name, "the rows")
    with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
        if transforms is not None:
            (Path(folder) / TRANSFORMS).write_bytes(transforms)
        return Matrix(Path(folder), signature)(signature.tensors(rows))


def training_parts(stores: Stores, version: ModelVersion, record: Mapping[str, Any]) -> dict[str, pl.DataFrame] | None:
    """The parts of the training set of a version, None where it is no longer there."""
    found = kept_training_set(stores, version.model, record["datasets"]["training_set"])
    if found is None:
        return None
    model = recorded_definitions(stores, version).get("model", version.model, Model)
    return model.split.split(found[1].collect(), time=model.label.time, known_at=model.label.known_at)


@dataclass(frozen=True)
class _Place:
    """Where what was learned is among the files of a version, and of which rows."""

    folder: str = ""
    signature: Signature | None = None
    rows: Mapping[str, str] = field(default_factory=dict)


def _place(stores: Stores, version: ModelVersion, node: str | None) -> _Place:
    partitioned = version.format == "partitioned"
    index = stores.artifacts.get_files(version.manifest)[f"{SERVABLE}{INDEX}"] if partitioned else b""
    return _place_in(version.format, index, str(version), node)


def _place_in(format_name: str, told: bytes, whose: str, node: str | None) -> _Place:
    if format_name != "partitioned":
        if node is not None:
            raise NotFoundError("node", node, where=whose, hint=f"{whose} is one model, without nodes.")
        return _Place()
    index = msgspec.json.decode(told)
    nodes = {one["name"]: one for one in index["nodes"]}
    wanted = node or index["nodes"][0]["name"]
    if wanted not in nodes:
        raise NotFoundError("node", wanted, nodes, where=whose)
    found = nodes[wanted]
    rows = dict(zip(index["by"], found["key"], strict=False))
    return _Place(f"{found['folder']}/", Signature.from_dict(found["signature"]), rows)


def _seen(stores: Stores, version: ModelVersion, record: Mapping[str, Any], trees: Trees, place: _Place) -> Seen | None:
    parts = training_parts(stores, version, record)
    if parts is None:
        return None
    train = parts["train"].filter(*(pl.col(name) == value for name, value in place.rows.items()))
    label = recorded_definitions(stores, version).get("model", version.model, Model).label
    labels = encoded(label, train, trees.classes, f"the train part of '{version}'")
    return Seen(matrix_of(trees.signature, trees.transforms, train), np.asarray(labels, np.float64))
