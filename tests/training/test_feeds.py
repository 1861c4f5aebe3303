"""Batches of an epoch: each row once, in an order of the epoch's own, from memory and from a file alike."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.training import feeds
from carrara.training.feeds import batches, tf_dataset, torch_dataset
from carrara.training.trainers.base import Part

ROWS = 10_000
PART = Part(np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3), np.arange(ROWS, dtype=np.float32))


@pytest.fixture(params=["memory", "file"])
def kept(request, monkeypatch):
    if request.param == "file":
        monkeypatch.setattr(feeds, "MOST_IN_MEMORY", 3 * 2_000)
        monkeypatch.setattr(feeds, "_BLOCK_ROWS", 256)


def epoch(number: int, seed: int = 0) -> list[np.ndarray]:
    return list(batches(PART, 64, seed=seed, epoch=number))


def test_each_row_is_in_one_batch(kept):
    made = epoch(1)
    assert sorted(np.concatenate(made).tolist()) == list(range(ROWS))
    assert max(map(len, made)) == 64


def test_an_order_is_the_epochs_and_the_seeds_own(kept):
    once, again = np.concatenate(epoch(1)), np.concatenate(epoch(1))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, np.concatenate(epoch(2)))
    assert not np.array_equal(once, np.concatenate(epoch(1, seed=1)))


def test_a_batch_has_rows_from_everywhere(kept):
    first = epoch(1)[0]
    assert first.min() < ROWS / 4
    assert first.max() > 3 * ROWS / 4


def test_torch_and_tensorflow_are_fed_the_same_rows(kept):
    torch_rows = [[tensor.numpy() for tensor in batch] for batch in torch_dataset(PART, 64)]
    tf_rows = [[tensor.numpy() for tensor in batch] for batch in tf_dataset(PART, 64)]
    for ours, theirs in zip(torch_rows, tf_rows, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    features = np.concatenate([batch[0] for batch in torch_rows])
    labels = np.concatenate([batch[1] for batch in torch_rows])
    assert np.array_equal(features, PART.features[labels.astype(int)])


def test_a_second_pass_is_another_epoch():
    data = torch_dataset(PART, 64)
    first, second = (np.concatenate([labels.numpy() for _, labels, _ in data]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert sorted(first) == sorted(second)
