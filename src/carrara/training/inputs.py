"""A model's inputs: its features as tensors, its transforms as a graph, and the matrix that its trainer takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.arrays import array_shape, flat_arrays, is_array
from carrara.core.columns import require_column, type_name
from carrara.core.errors import ColumnTypeMismatch, StorageError, TrainingError
from carrara.data.rows import Rows, batches
from carrara.models.runtimes.base import COLUMNS, TRANSFORMS
from carrara.models.runtimes.onnx import session
from carrara.models.signature import TensorSpec
from carrara.training.analyzers.analyze import Analysis
from carrara.training.analyzers.numbers import Presence
from carrara.training.analyzers.spans import Analyses, Spans
from carrara.training.stages import Stage
from carrara.training.trainers.base import MOST_IN_MEMORY, Array
from carrara.training.transforms.base import Transform
from carrara.training.transforms.graph import Column, Graph

NUMBERS = "numbers"
"""The input of a transforms' graph that holds all features that are numbers; each text is an input by its name."""

CATEGORIES = "categories.json"
"""The file, beside COLUMNS, with how many categories there are of the columns that hold places of some."""

SHAPES = "shapes.json"
"""The file with the shapes of arrays, each of which is as many columns."""

LEARNED_TRANSFORMS = "transforms.json"

_WHERE = "the training set"
_OUTPUT = "matrix"


@dataclass(frozen=True)
class Inputs:
    """How rows of features become a matrix.

    `names` are the matrix's columns and `sources` the features that each comes from; `categories` are the columns that
    hold places of categories, `shapes` those of arrays. `graph` is an ONNX model, None where the matrix is the features
    as they are; `given_scores` is the same with the scores of stages as its inputs `score_tensors`, by their addresses.
    """

    features: tuple[TensorSpec, ...]
    names: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, int] = field(default_factory=dict)
    graph: bytes | None = None
    learned: list[dict[str, Any]] = field(default_factory=list)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    given_scores: bytes | None = None
    score_tensors: Mapping[str, str] = field(default_factory=dict)

    def matrix(self, rows: Rows, folder: Path | None = None, scores: Mapping[str, Array] | None = None) -> Array:
        """The columns of the matrix, float32 of shape (rows, columns), NaN for missing; `scores` are those of stages,
        by their addresses, which the graph would compute otherwise.

        One that is larger than MOST_IN_MEMORY is in a file in `folder`, which is gone when nobody uses it any more.
        Raises StorageError where there is no room for it.
        """
        made, names, done = _room(rows.height, len(self.names), folder), [spec.name for spec in self.features], 0
        used = self.graph if not scores else self.given_scores
        graph = None if used is None else session(used)
        for batch in batches(rows, names):
            place, done = done, done + batch.height
            if graph is None:
                made[place:done] = _numbers(self.features, batch)
            else:
                some = {self.score_tensors[stage]: given[place:done] for stage, given in (scores or {}).items()}
                (made[place:done],) = graph.run([_OUTPUT], {**tensors_of(self.features, batch), **some})
        return made

    def files(self) -> dict[str, bytes]:
        """What there is to know of the matrix: to read what was learned of its columns, and to go on from it."""
        found = {COLUMNS: msgspec.json.encode({name: list(self.sources[name]) for name in self.names})}
        if self.categories:
            found[CATEGORIES] = msgspec.json.encode(self.categories)
        if self.shapes:
            found[SHAPES] = msgspec.json.encode(self.shapes)
        if self.graph is not None:
            found[TRANSFORMS] = self.graph
        if self.learned:
            found[LEARNED_TRANSFORMS] = msgspec.json.encode(self.learned)
        return found

    @classmethod
    def of_files(cls, features: tuple[TensorSpec, ...], files: Mapping[str, bytes]) -> Inputs:
        """The inputs that `files` were written of."""
        read = {
            name: msgspec.json.decode(files[name])
            for name in (COLUMNS, CATEGORIES, LEARNED_TRANSFORMS, SHAPES)
            if name in files
        }
        sources = {name: tuple(one) for name, one in read[COLUMNS].items()}
        return cls(
            features,
            tuple(sources),
            sources,
            read.get(CATEGORIES, {}),
            files.get(TRANSFORMS),
            read.get(LEARNED_TRANSFORMS, []),
            {name: tuple(shape) for name, shape in read.get(SHAPES, {}).items()},
        )

    def importance(self, by_column: Mapping[str, float]) -> dict[str, float]:
        """Each feature's share, from those of the matrix's columns; a cross is shared evenly."""
        found = {spec.name: 0.0 for spec in self.features}
        for column, share in by_column.items():
            for source in self.sources[column]:
                found[source] += share / len(self.sources[column])
        return found


def as_they_are(specs: tuple[TensorSpec, ...]) -> Inputs:
    """Features that are the matrix themselves."""
    return Inputs(specs, _columns_of(specs), _sources_of(specs), shapes=_shapes(specs))


def fit_inputs(
    features: tuple[str, ...],
    transforms: tuple[Transform, ...],
    rows: Rows,
    stages: tuple[Stage, ...] = (),
    scores: Mapping[str, Array] | None = None,
    analyses: Analyses | None = None,
) -> Inputs:
    """Fit transforms on the training rows, all of them, in the order of their declaration. The scores of `stages` are
    columns that transforms can take, too; `scores` are those that are known of these rows, by the stages' addresses.
    `analyses` are the days whose states are kept; what is learned is the same, bit for bit, without them.

    Raises ColumnTypeMismatch for a feature that is no number, boolean or text; TrainingError for a text that no
    transform makes a number of, and for a feature that is missing in every row.
    """
    specs, known = tuple(_spec(name, rows) for name in features), scores or {}
    _refuse_missing(features[0], rows.height)
    if not transforms and not stages:
        for name in features:
            _refuse_missing(name, rows.height - rows[name].null_count())
        _refuse_texts([spec.name for spec in specs if spec.dtype == "string"])
        return as_they_are(specs)
    graph, learned = Graph(), []
    columns = _columns(graph, specs)
    features_alone = dict(columns)
    tensors: dict[str, str] = {}
    for stage in stages:
        numbers = [place for spec in _number_specs(stage.signature.inputs) for place in _places(specs, spec.name)]
        column = columns[stage.names[0]] = stage.column(graph, NUMBERS, numbers)
        if stage.address in known:
            tensors[stage.address] = column.tensor
    analysis = _analysis(graph, specs, rows, analyses, {tensors[stage]: known[stage] for stage in tensors})
    presence = analysis.states(dict.fromkeys(features, Presence()), features_alone)
    for name in features:
        _refuse_missing(name, presence[name].known)
    for name in {name for stage in stages for name in stage.borrowed}:
        del columns[name]
    untouched = {name: columns[name] for name in features if name in columns}
    for transform in transforms:
        asked = transform.asks(columns)
        made, found = transform.fit(columns, graph, analysis.states(asked, columns))
        columns |= made
        learned.append({**transform.spec(), "rows": rows.height, "learned": found})
    used = {name: column for name, column in columns.items() if not (column.is_text and _is_used(name, columns))}
    _refuse_texts([name for name, column in used.items() if column.is_text])
    raw = [name for name, column in used.items() if column is untouched.get(name)]
    parts = [used[name] for name in used if name not in raw]
    if raw:
        places = [place for name in raw for place in _places(specs, name)]
        tensor = graph.add("Gather", NUMBERS, graph.constant(places, np.int64), axis=1)
        names = tuple(name for one in raw for name in used[one].names)
        parts.insert(0, Column(tensor, names, tuple(raw)))
    joined = graph.add("Concat", *(part.tensor for part in parts), axis=1)
    graph.nodes.append(_named(graph, joined))
    sources: dict[str, tuple[str, ...]] = {name: (one,) for one in raw for name in used[one].names}
    for part in parts[1:] if raw else parts:
        sources |= dict.fromkeys(part.names, part.sources)
    shapes = {name: shape for name, shape in _shapes(specs).items() if f"{name}[0]" in sources}
    categories = {}
    for part in parts:
        if part.categories:
            name = part.names[0].removesuffix("[0]")
            categories[name] = part.categories
            if len(part.names) > 1:
                shapes[name] = (len(part.names),)
    widths = _widths(specs)
    inputs = Inputs(specs, tuple(sources), sources, categories, graph.model(widths, _OUTPUT), learned, shapes)
    if not tensors:
        return inputs
    scored = {tensor: known[stage].shape[1] for stage, tensor in tensors.items()}
    return replace(inputs, given_scores=graph.model({**widths, **scored}, _OUTPUT), score_tensors=tensors)


def _analysis(
    graph: Graph,
    specs: tuple[TensorSpec, ...],
    rows: Rows,
    analyses: Analyses | None,
    scores: Mapping[str, Array],
) -> Analysis:
    """What finds out what transforms ask; `scores` of all rows are inputs of the graph, by their tensors."""

    def tensors(batch: pl.DataFrame, place: int) -> dict[str, Array]:
        given = {tensor: known[place : place + batch.height] for tensor, known in scores.items()}
        return {**tensors_of(specs, batch), **given}

    # Scores out of fold are not of the rows alone, and what is found of them is kept nowhere.
    days = Analyses() if analyses is None or scores else analyses
    spans = Spans(rows, [spec.name for spec in specs], days)
    widths = {**_widths(specs), **{tensor: known.shape[1] for tensor, known in scores.items()}}
    return Analysis(spans, graph, tensors, widths, [[spec.name, spec.dtype, spec.shape] for spec in specs])


def _widths(specs: tuple[TensorSpec, ...]) -> dict[str, int | None]:
    """The inputs of a transforms' graph, with how many columns each has; None of a text."""
    texts: dict[str, int | None] = {spec.name: None for spec in specs if spec.dtype == "string"}
    numbers = [name for spec in _number_specs(specs) for name in _names_of(spec)]
    return {**({NUMBERS: len(numbers)} if numbers else {}), **texts}


def _refuse_missing(name: str, known: int) -> None:
    if not known:
        raise TrainingError(f"'{name}' is missing in every training row", hint="Leave it out of the model.")


def _named(graph: Graph, tensor: str) -> Any:
    graph.add("Identity", tensor)
    node = graph.nodes.pop()
    node.output[0] = _OUTPUT
    return node


def _columns(graph: Graph, specs: tuple[TensorSpec, ...]) -> dict[str, Column]:
    found = {}
    for spec in specs:
        if spec.dtype == "string":
            found[spec.name] = Column(spec.name, (spec.name,), (spec.name,), is_text=True)
        else:
            places = list(_places(specs, spec.name))
            tensor = graph.add("Gather", NUMBERS, graph.constant(places, np.int64), axis=1)
            found[spec.name] = Column(tensor, _names_of(spec), (spec.name,))
    return found


def _is_used(name: str, columns: Mapping[str, Column]) -> bool:
    """Whether another column, such as a cross, is made of this one."""
    return any(name in column.sources and other != name for other, column in columns.items() if not column.is_text)


def _spec(name: str, rows: Rows) -> TensorSpec:
    dtype = require_column(rows.schema, name, _WHERE)
    if dtype == pl.String:
        return TensorSpec(name, "string")
    if is_array(dtype):
        return TensorSpec(name, "float32", (None, *array_shape(rows[name], _WHERE)))
    if not (dtype.is_numeric() or dtype == pl.Boolean()):
        raise ColumnTypeMismatch(
            name, _WHERE, "a number or a text", type_name(dtype), hint="Encode it in its view's function."
        )
    return TensorSpec(name, "float32")


def _refuse_texts(names: list[str]) -> None:
    if names:
        raise TrainingError(
            f"{', '.join(names)}: texts, which no transform makes numbers of",
            hint=f'e.g. transforms=(carrara.OneHot("{names[0]}"),)',
        )


def _number_specs(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(spec for spec in specs if spec.dtype != "string")


def _names_of(spec: TensorSpec) -> tuple[str, ...]:
    """The columns of a feature: those of an array are numbered row by row."""
    if not (shape := _shape(spec)):
        return (spec.name,)
    return tuple(f"{spec.name}[{number}]" for number in range(prod(shape)))


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    """Of each row's value; empty for a number."""
    return tuple(size or 1 for size in (spec.shape or ())[1:])


def _columns_of(specs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    return tuple(name for spec in specs for name in _names_of(spec))


def _sources_of(specs: tuple[TensorSpec, ...]) -> dict[str, tuple[str, ...]]:
    return {name: (spec.name,) for spec in specs for name in _names_of(spec)}


def _shapes(specs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    return {spec.name: _shape(spec) for spec in specs if _shape(spec)}


def _places(specs: tuple[TensorSpec, ...], name: str) -> range:
    """Where the columns of a feature are among those of all that are numbers."""
    first = 0
    for spec in _number_specs(specs):
        if spec.name == name:
            break
        first += len(_names_of(spec))
    return range(first, first + len(_names_of(spec)))


def tensors_of(specs: tuple[TensorSpec, ...], rows: pl.DataFrame) -> dict[str, Array]:
    """The inputs of a transforms' graph, from a table."""
    texts = {s.name: rows[s.name].fill_null("").to_numpy().astype(object) for s in specs if s.dtype == "string"}
    numbers = _number_specs(specs)
    return {**({NUMBERS: np.ascontiguousarray(_numbers(numbers, rows))} if numbers else {}), **texts}


def _room(rows: int, columns: int, folder: Path | None) -> Array:
    if rows * columns <= MOST_IN_MEMORY:
        return np.empty((rows, columns), np.float32)
    with tempfile.TemporaryFile(dir=folder, prefix="matrix-") as file:
        try:
            # A file with holes in it would kill the process where the disk is full.
            os.posix_fallocate(file.fileno(), 0, rows * columns * np.dtype(np.float32).itemsize)
        except OSError as error:
            raise StorageError(
                f"there is no room in {folder or tempfile.gettempdir()} for a matrix of {rows:,} × {columns:,} numbers",
                hint="It takes 4 bytes a number.",
            ) from error
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, columns)))


def _numbers(specs: tuple[TensorSpec, ...], rows: pl.DataFrame) -> Array:
    shapes = _shapes(specs)
    if not shapes:
        columns = rows.select(pl.col(spec.name).cast(pl.Float32).fill_null(float("nan")) for spec in specs)
        return np.asarray(columns.to_numpy(), dtype=np.float32)
    parts = [
        flat_arrays(rows[spec.name], shapes[spec.name], _WHERE)
        if spec.name in shapes
        else rows[spec.name].cast(pl.Float32).fill_null(float("nan")).to_numpy()[:, None]
        for spec in specs
    ]
    return np.concatenate(parts, axis=1)
