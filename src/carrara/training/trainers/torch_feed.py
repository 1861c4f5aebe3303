"""Rows of a part as tensors on the device where a net computes.

On the CPU they are gathered for each step. On an accelerator the rows of a part that fits into its memory are put there
once, and gathered there; those of a larger one are gathered and pinned ahead, and copied while the device computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from carrara.training.trainers.base import Array, Part

_AHEAD = 4
"""How many batches are on their way."""

_SHARE_HELD = 4
"""A part is put into the device's memory where it takes no more than one in so many of its free bytes."""

_ROWS_AT_ONCE = 65_536


class Batch(NamedTuple):
    """This process's rows of a batch, and the `total` of the whole batch's weights."""

    features: Any
    labels: Any
    weights: Any
    total: float

    def parts(self, count: int) -> Iterator[Batch]:
        """The rows as so many batches, of which some may be empty; the total is that of the whole."""
        rows = len(self.labels)
        for part in range(count):
            some = slice(rows * part // count, rows * (part + 1) // count)
            yield Batch(self.features[some], self.labels[some], self.weights[some], self.total)

    def changed(self, change: Callable[[Any], Any]) -> Batch:
        return Batch(change(self.features), change(self.labels), change(self.weights), self.total)


class Feed:
    """The rows of the process `rank` of `size`, each of which takes every `size`-th one."""

    def __init__(self, torch: Any, device: Any, rank: int = 0, size: int = 1, *, holds: bool | None = None) -> None:
        self._torch, self._device, self._rank, self._size = torch, device, rank, size
        self._holds = holds
        self._held: tuple[Part, tuple[Any, Any, Any]] | None = None

    def batches(self, part: Part, orders: Iterable[Array]) -> Iterator[Batch]:
        """A batch for each of some places of rows."""
        if self._device.type == "cpu" and self._holds is None:
            yield from (self._gathered(part, rows) for rows in orders)
        elif self._fits(part):
            yield from self._picked(part, orders)
        else:
            yield from self._ahead(part, orders)

    def slices(self, part: Part) -> Iterator[Batch]:
        """All rows, in their order."""
        for start in range(0, len(part.labels), _ROWS_AT_ONCE):
            mine = slice(start + self._rank, start + _ROWS_AT_ONCE, self._size)
            if self._held is not None and self._held[0] is part:
                features, labels, weights = self._held[1]
                yield Batch(features[mine], labels[mine], weights[mine], 0.0)
                continue
            own = np.ones(len(part.labels[mine]), np.float32) if part.weights is None else part.weights[mine]
            yield Batch(self._on(part.features[mine]), self._on(part.labels[mine]), self._on(own), 0.0)

    def _gathered(self, part: Part, rows: Array) -> Batch:
        weights = np.ones(len(rows), np.float32) if part.weights is None else part.weights[rows]
        mine, tensor = rows[self._rank :: self._size], self._torch.from_numpy
        own = np.ascontiguousarray(weights[self._rank :: self._size])
        return Batch(tensor(part.features[mine]), tensor(part.labels[mine]), tensor(own), float(weights.sum()))

    def _ahead(self, part: Part, orders: Iterable[Array]) -> Iterator[Batch]:
        """Gathered by a thread of its own, so that the device need not wait."""
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(1, "feed") as reader:
            for rows in orders:
                waiting.append(reader.submit(self._pinned, part, rows))
                if len(waiting) > _AHEAD:
                    yield self._copied(waiting.popleft().result())
            while waiting:
                yield self._copied(waiting.popleft().result())

    def _pinned(self, part: Part, rows: Array) -> Batch:
        """A batch that a device can fetch by itself."""
        found = self._gathered(part, rows)
        return found.changed(lambda tensor: tensor.pin_memory()) if self._is_cuda else found

    def _copied(self, batch: Batch) -> Batch:
        return batch.changed(lambda tensor: tensor.to(self._device, non_blocking=True))

    def _picked(self, part: Part, orders: Iterable[Array]) -> Iterator[Batch]:
        """Of a part that is held, by places which are sent once an epoch."""
        if self._held is None or self._held[0] is not part:
            weights = np.ones(len(part.labels), np.float32) if part.weights is None else part.weights
            self._held = (part, tuple(self._on(values) for values in (part.features, part.labels, weights)))
        held, kept = self._held[1], list(orders)
        totals = [float(len(r)) if part.weights is None else float(part.weights[r].sum()) for r in kept]
        mine = [rows[self._rank :: self._size] for rows in kept]
        places = self._on(np.concatenate(mine)).split([len(rows) for rows in mine]) if mine else []
        for rows, total in zip(places, totals, strict=True):
            features, labels, weights = (values.index_select(0, rows) for values in held)
            yield Batch(features, labels, weights, total)

    def _on(self, values: Array) -> Any:
        return self._torch.from_numpy(np.require(values, requirements=["C", "W"])).to(self._device)

    def _fits(self, part: Part) -> bool:
        if self._holds is not None:
            return self._holds
        if self._held is not None and self._held[0] is part:
            return True
        if not self._is_cuda:
            return False
        free = self._torch.cuda.mem_get_info(self._device)[0]
        return bool((part.features.nbytes + part.labels.nbytes) * _SHARE_HELD * self._size <= free)

    @property
    def _is_cuda(self) -> bool:
        return bool(self._device.type == "cuda")
