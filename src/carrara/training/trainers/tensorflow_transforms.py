"""A graph of transforms as operations of TensorFlow, for a SavedModel that takes features as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require

_BETWEEN = "\x1f"
"""What stands between the words of an n-gram, and in none of them: the unit separator is white space."""


def transformed(tensorflow: Any, graph: bytes, given: Mapping[str, Any]) -> Any:
    """The matrix that an ONNX graph of transforms makes of tensors by the names of its inputs.

    Raises TrainingError for an operator that has no equal one in TensorFlow.
    """
    onnx = require("onnx", extra="tensorflow", purpose="transforms in a SavedModel")
    model = onnx.load_from_string(graph).graph
    found: dict[str, Any] = {one.name: onnx.numpy_helper.to_array(one) for one in model.initializer}
    found |= given
    for node in model.node:
        operator = _OPERATORS.get(node.op_type)
        if operator is None:
            raise TrainingError(
                f"a SavedModel cannot have what the transforms do by {node.op_type}: TensorFlow has no equal of it",
                hint='Leave out Hash and scores of other models, or train with export="onnx".',
            )
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        inputs = (found[name] for name in node.input)
        found[node.output[0]] = operator(tensorflow, *inputs, **attributes)
    return found[model.output[0].name]


def _named(name: str) -> Callable[..., Any]:
    """An operator that TensorFlow has too."""

    def operator(tensorflow: Any, *inputs: Any) -> Any:
        return getattr(tensorflow.math, name)(*inputs)

    return operator


def _cast(tensorflow: Any, values: Any, to: int) -> Any:
    return tensorflow.cast(values, {1: tensorflow.float32, 7: tensorflow.int64}[to])


def _encode(
    tensorflow: Any, texts: Any, keys_strings: Sequence[bytes], values_floats: Sequence[float], default_float: float
) -> Any:
    return _table(tensorflow, keys_strings, np.asarray(values_floats, np.float32), default_float).lookup(texts)


def _table(tensorflow: Any, keys: Sequence[bytes], values: Any, default: Any) -> Any:
    entries = tensorflow.lookup.KeyValueTensorInitializer(tensorflow.constant(list(keys)), tensorflow.constant(values))
    return tensorflow.lookup.StaticHashTable(entries, default)


def _lowered(tensorflow: Any, texts: Any, case_change_action: bytes, locale: bytes) -> Any:
    # Without an encoding it knows A to Z alone, as the graph's locale does.
    return tensorflow.strings.lower(texts)


def _words(tensorflow: Any, texts: Any) -> Any:
    """Of shape (rows, words), the empty text behind the last one."""
    # At spaces alone, as ONNX Runtime does (1.32); TensorFlow's own white space has tabs and ends of lines too.
    spaced = tensorflow.strings.regex_replace(texts, " +", " ")
    trimmed = tensorflow.strings.regex_replace(spaced, "^ | $", "")
    return tensorflow.strings.split(trimmed, " ").to_tensor(default_value="")


def _counts(
    tensorflow: Any,
    words: Any,
    *,
    max_gram_length: int,
    ngram_counts: Sequence[int],
    pool_strings: Sequence[bytes],
    ngram_indexes: Sequence[int],
    **_: Any,
) -> Any:
    """How often each n-gram of the pool, which lists them by their lengths, is in a row: float32 (rows, n-grams)."""
    grams, ends = [], [*ngram_counts[1:], len(pool_strings)]
    for length, (start, end) in enumerate(zip(ngram_counts, ends, strict=True), 1):
        pool = pool_strings[start:end]
        grams += [_BETWEEN.encode().join(pool[n : n + length]) for n in range(0, len(pool), length)]
    table = _table(tensorflow, grams, np.asarray(ngram_indexes, np.int64), -1)
    shape = tensorflow.shape(words, out_type=tensorflow.int64)
    counts = tensorflow.zeros((shape[0], len(grams)), tensorflow.float32)
    for length in range(1, max_gram_length + 1):
        last = tensorflow.maximum(shape[1] - length + 1, 0)
        parts = [words[:, n : n + last] for n in range(length)]
        places = table.lookup(tensorflow.strings.join(parts, _BETWEEN))
        there = tensorflow.where(places >= 0)
        where = tensorflow.stack([there[:, 0], tensorflow.gather_nd(places, there)], axis=1)
        ones = tensorflow.ones(tensorflow.shape(there)[:1], tensorflow.float32)
        counts = tensorflow.tensor_scatter_nd_add(counts, where, ones)
    return counts


_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Abs": _named("abs"),
    "Add": _named("add"),
    "Cast": _cast,
    "Concat": lambda tensorflow, *parts, axis: tensorflow.concat(parts, axis),
    "Div": _named("divide"),
    "Equal": _named("equal"),
    "Expand": lambda tensorflow, values, shape: tensorflow.broadcast_to(values, shape),
    "Gather": lambda tensorflow, values, places, axis: tensorflow.gather(values, places, axis=axis),
    "Greater": _named("greater"),
    "GreaterOrEqual": _named("greater_equal"),
    "Identity": lambda tensorflow, values: tensorflow.identity(values),
    "IsNaN": _named("is_nan"),
    "LabelEncoder": _encode,
    "Less": _named("less"),
    "Log": _named("log"),
    "Mul": _named("multiply"),
    "ReduceSum": lambda tensorflow, values, axes, keepdims: tensorflow.reduce_sum(values, axes, bool(keepdims)),
    "Shape": lambda tensorflow, values: tensorflow.shape(values, out_type=tensorflow.int64),
    "Sign": _named("sign"),
    "Slice": lambda tensorflow, values, start, end, axis: values[:, int(start[0]) : int(end[0])],
    "StringConcat": lambda tensorflow, *parts: tensorflow.strings.join(parts),
    "StringNormalizer": _lowered,
    "StringSplit": _words,
    "Sub": _named("subtract"),
    "TfIdfVectorizer": _counts,
    "Unsqueeze": lambda tensorflow, values, axes: tensorflow.expand_dims(values, int(axes[0])),
    "Where": lambda tensorflow, condition, one, other: tensorflow.where(condition, one, other),
}
"""The operators that transforms use, but for hashes: those of an ONNX Runtime alone."""
