"""Batches of a part in an order of each epoch's own: for the nets, and for trainers of your own.

A part that is in a file is mixed by blocks of rows, so that it is read a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.training.trainers.base import MOST_IN_MEMORY, Array, Part

_BLOCK_ROWS = 4_096


def batches(part: Part, size: int, *, seed: int, epoch: int) -> Iterator[Array]:
    """The places of an epoch's rows, int64 of shape (up to `size`,); each row is in one batch."""
    random = np.random.default_rng([seed, epoch])
    rows, columns = part.features.shape
    for window in _windows(rows, columns, random):
        order = random.permutation(window)
        yield from (order[start : start + size] for start in range(0, len(order), size))


def torch_dataset(part: Part, batch_rows: int = 1_024, *, seed: int = 0) -> Any:
    """A `torch.utils.data.IterableDataset` of (features, labels, weights), tensors of `batch_rows` rows.

    Each pass is an epoch of another order. It makes batches itself: `DataLoader(dataset, batch_size=None)`.
    """
    torch = require("torch", extra="torch", purpose="a dataset for PyTorch")
    base: Any = torch.utils.data.IterableDataset

    class Batches(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._epoch = 0

        def __iter__(self) -> Iterator[Any]:
            self._epoch += 1
            for arrays in _arrays(part, batch_rows, seed, self._epoch):
                yield tuple(map(torch.from_numpy, arrays))

    return Batches()


def tf_dataset(part: Part, batch_rows: int = 1_024, *, seed: int = 0) -> Any:
    """A `tf.data.Dataset` of (features, labels, weights), tensors of `batch_rows` rows; each pass is an epoch of
    another order, read ahead while the model computes."""
    tensorflow = require("tensorflow", extra="tensorflow", purpose="a dataset for TensorFlow")
    columns, epochs = part.features.shape[1], iter(range(1, 2**31))
    shapes = ((None, columns), (None, *part.labels.shape[1:]), (None,))
    return tensorflow.data.Dataset.from_generator(
        lambda: _arrays(part, batch_rows, seed, next(epochs)),
        output_signature=tuple(tensorflow.TensorSpec(shape, tensorflow.float32) for shape in shapes),
    ).prefetch(tensorflow.data.AUTOTUNE)


def _arrays(part: Part, size: int, seed: int, epoch: int) -> Iterator[tuple[Array, Array, Array]]:
    for rows in batches(part, size, seed=seed, epoch=epoch):
        weights = np.ones(len(rows), np.float32) if part.weights is None else part.weights[rows]
        yield part.features[rows], part.labels[rows], weights


def _windows(rows: int, columns: int, random: np.random.Generator) -> Iterator[Array]:
    """All rows, or of a matrix in a file as many blocks, taken from everywhere, as a matrix in memory may have."""
    if rows * columns <= MOST_IN_MEMORY:
        yield np.arange(rows)
        return
    blocks = random.permutation(-(-rows // _BLOCK_ROWS))
    held = max(1, MOST_IN_MEMORY // (columns * _BLOCK_ROWS))
    for start in range(0, len(blocks), held):
        firsts = blocks[start : start + held, None] * _BLOCK_ROWS
        window = (firsts + np.arange(_BLOCK_ROWS)).ravel()
        yield window[window < rows]
