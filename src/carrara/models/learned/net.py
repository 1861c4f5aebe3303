"""The layers of a net as plain arrays, and what they make of a row."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from carrara.models.learned.forest import Array, Floats

SHAPE = "net.json"
"""The file beside the weights: which columns are numbers, which are embedded, and how numbers are scaled back."""

NAMES = "layers.json"
"""The file beside the weights of an architecture of one's own: how each of them is called."""

_BINS = 24


@dataclass(frozen=True)
class Net:
    """Embeddings of `categories` (columns and their numbers of values), then dense layers with ReLU between them.

    `embeddings` have shape (values, width), `dense` are pairs of a matrix, of shape (in, out), and offsets, (out,).
    """

    numbers: tuple[int, ...]
    categories: tuple[tuple[int, int], ...]
    embeddings: tuple[Array, ...]
    dense: tuple[tuple[Array, Array], ...]
    mean: float = 0.0
    std: float = 1.0

    def margins(self, rows: Array) -> Floats:
        """What the last layer gives, of shape (rows, outputs); `rows` have shape (rows, columns)."""
        parts = [rows[:, list(self.numbers)]] if self.numbers else []
        for (place, size), table in zip(self.categories, self.embeddings, strict=True):
            parts.append(table[np.clip(rows[:, place].astype(np.int64), 0, size - 1)])
        flow = np.concatenate(parts, axis=1).astype(np.float64)
        for number, (matrix, offsets) in enumerate(self.dense, start=1):
            flow = flow @ matrix + offsets
            flow = np.maximum(flow, 0.0) if number < len(self.dense) else flow
        return np.asarray(flow * self.std + self.mean)

    def as_dict(self) -> dict[str, Any]:
        """The layers with their shapes, numbers of parameters, and the distribution of their weights."""
        named = [(f"embedding {number}", table) for number, table in enumerate(self.embeddings, start=1)]
        for number, (matrix, offsets) in enumerate(self.dense, start=1):
            named += [(f"dense {number}", matrix), (f"dense {number} offsets", offsets)]
        return layers_of(named)


def read_net(learned: Mapping[str, bytes]) -> Net | None:
    """The net among the learned files of a version, None where there is none."""
    if "learned.npz" not in learned or SHAPE not in learned:
        return None
    shape, weights = msgspec.json.decode(learned[SHAPE]), read_weights(learned)
    categories = tuple((int(place), int(size)) for place, size in shape["categories"])
    tables, dense = weights[: len(categories)], weights[len(categories) :]
    return Net(
        numbers=tuple(shape["numbers"]),
        categories=categories,
        embeddings=tuple(tables),
        dense=tuple(zip(dense[::2], dense[1::2], strict=True)),
        mean=float(shape["mean"]),
        std=float(shape["std"]),
    )


def told_weights(learned: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The weights of an architecture of one's own, by their names; None where there are none."""
    if "learned.npz" not in learned:
        return None
    weights = read_weights(learned)
    names = msgspec.json.decode(learned[NAMES]) if NAMES in learned else [f"weights {n}" for n in range(len(weights))]
    return layers_of(list(zip(names, weights, strict=True)))


def read_weights(learned: Mapping[str, bytes]) -> list[Array]:
    """The arrays that a net has learned, in its own order."""
    with np.load(io.BytesIO(learned["learned.npz"]), allow_pickle=False) as file:
        return [file[f"arr_{number}"] for number in range(len(file.files))]


def layers_of(named: Sequence[tuple[str, Array]]) -> dict[str, Any]:
    """Arrays with their shapes, numbers of parameters, and the distribution of their values."""
    layers = [{"layer": name, **_told(weights)} for name, weights in named]
    return {"kind": "net", "parameters": sum(one["parameters"] for one in layers), "layers": layers}


def _told(weights: Array) -> dict[str, Any]:
    counts, edges = np.histogram(weights, bins=_BINS)
    return {
        "shape": list(weights.shape),
        "parameters": int(weights.size),
        "mean": float(weights.mean()),
        "std": float(weights.std()),
        "min": float(weights.min()),
        "max": float(weights.max()),
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }
