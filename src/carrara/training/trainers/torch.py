"""Neural nets by PyTorch, on the CPU, in one process or in several that share each batch and add up their gradients."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np

from carrara.core.plugins import require
from carrara.training.cluster.cores import cores
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.epochs import Scale, run_epochs
from carrara.training.trainers.net_graph import dense_graph
from carrara.training.trainers.net_native import torch_program
from carrara.training.trainers.nets import NetTrainer, fit_net, refuse_missing
from carrara.training.trainers.shape import Shape
from carrara.training.trainers.torch_modules import built, dense, exported
from carrara.training.trainers.torch_shards import put, shard, whole

_ROWS_AT_ONCE = 65_536
_PATIENCE_SECONDS = 120
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Torch(NetTrainer):
    __doc__ = f"""A net of dense layers by PyTorch, with AdamW. {NetTrainer.__doc__}

    Where several processes train it and it is `sharded`, each keeps a share of the parameters and of the optimiser's
    moments (FSDP; Zhao and others, 2023), for nets that are larger than the memory of one.
    """

    sharded: bool = False

    name = "torch"
    distributed: ClassVar[bool] = True

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        torch = _ready(train, task)
        net = _TorchNet(torch, self, task, _Group(torch, 0, 1))
        fitted = fit_net(self, net, train, validation, task)
        return replace(fitted, libraries=("torch", *fitted.libraries))

    def join(self, train: Part, validation: Part, task: Task) -> None:
        torch = _ready(train, task)
        with _joined(torch) as group:
            run_epochs(self, _TorchNet(torch, self, task, group), train, validation, task)


def _ready(train: Part, task: Task) -> Any:
    torch = require("torch", extra="torch", purpose="the trainer 'torch'")
    refuse_missing(train, task)
    # As use_deterministic_algorithms(True), which would import the compiler for a second (2.13).
    torch.set_deterministic_debug_mode("error")
    return torch


@contextmanager
def _joined(torch: Any) -> Iterator[_Group]:
    """The processes of a fit, by the addresses in the environment."""
    if os.environ["MASTER_ADDR"].startswith("127."):
        # Nothing listens beyond this machine.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    rank, workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    patience = timedelta(seconds=_PATIENCE_SECONDS)
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=workers, timeout=patience)
    torch.set_num_threads(cores())
    try:
        yield _Group(torch, rank, workers)
    finally:
        torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class _Group:
    """The processes that train one net, by their number; each takes every `size`-th row."""

    torch: Any
    rank: int
    size: int

    def mine(self, values: Array) -> Array:
        return np.ascontiguousarray(values[self.rank :: self.size])

    def sum(self, tensor: Any) -> Any:
        if self.size > 1:
            self.torch.distributed.all_reduce(tensor)
        return tensor


class _TorchNet:
    format = "torch"

    def __init__(self, torch: Any, trainer: Torch, task: Task, group: _Group) -> None:
        self._torch, self._task, self._group = torch, task, group
        self.shape = Shape.of(trainer.layers, task) if trainer.build is None else None
        torch.manual_seed(task.seed)
        if self.shape is not None:
            self._module = dense(torch, self.shape, trainer.dropout)
        else:
            self._module = built(torch, trainer.build, task)
        self._sharded = trainer.sharded and group.size > 1
        if self._sharded:
            shard(torch, self._module, group.size)
        self._parameters = [one for one in self._module.parameters() if one.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=trainer.learning_rate, weight_decay=trainer.weight_decay, foreach=False
        )

    def begin(self, epoch: int) -> None:
        self._torch.manual_seed(self._task.seed * 1_000_003 + epoch + 7_919 * self._group.rank)

    def step(self, features: Array, labels: Array, weights: Array) -> None:
        self._module.train()
        self._optimiser.zero_grad()
        mine = [self._group.mine(values) for values in (features, labels, weights)]
        if len(mine[0]) or self._sharded:
            # Each process's loss is a part of the batch's: sharded gradients are means, and their sum is wanted.
            times = self._group.size if self._sharded else 1
            (self._total(*mine) * (times / float(weights.sum()))).backward()
        self._share_gradients()
        self._optimiser.step()

    def loss(self, part: Part) -> float:
        self._module.eval()
        weights = np.ones(len(part.labels), np.float32) if part.weights is None else part.weights
        total = self._torch.zeros(1, dtype=self._torch.float64)
        with self._torch.no_grad():
            for start in range(0, len(part.labels), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                mine = (self._group.mine(values[rows]) for values in (part.features, part.labels, weights))
                total += self._total(*mine).double()
        return float(self._group.sum(total)) / float(weights.sum(dtype=np.float64))

    def predict(self, features: Array) -> Array:
        self._module.eval()
        with self._torch.no_grad():
            parts = [
                self._module(self._torch.from_numpy(features[start : start + _ROWS_AT_ONCE])).numpy()
                for start in range(0, len(features), _ROWS_AT_ONCE)
            ]
        return np.concatenate(parts)

    def weights(self) -> list[Array]:
        return [self._turned(n, whole(one)).copy() for n, one in enumerate(self._tensors())]

    def begin_with(self, weights: Sequence[Array]) -> None:
        with self._torch.no_grad():
            for number, (one, values) in enumerate(zip(self._tensors(), weights, strict=True)):
                put(self._torch, one, self._turned(number, values))

    def state(self) -> list[Array]:
        found = [whole(one) for one in self._tensors()]
        for one in self._parameters:
            zeros = self._torch.zeros_like(one)
            moments = self._optimiser.state[one] or {"exp_avg": zeros, "exp_avg_sq": zeros, "step": 0.0}
            found += [whole(moments["exp_avg"]), whole(moments["exp_avg_sq"])]
            found.append(np.array(float(moments["step"]), np.float32))
        return found

    def restore(self, state: Sequence[Array]) -> None:
        tensors, torch = self._tensors(), self._torch
        with torch.no_grad():
            for one, values in zip(tensors, state, strict=False):
                put(torch, one, values)
        for number, one in enumerate(self._parameters):
            start = len(tensors) + 3 * number
            average, square, step = state[start : start + 3]
            if float(step):
                moments = {name: torch.zeros_like(one) for name in ("exp_avg", "exp_avg_sq")}
                self._optimiser.state[one] = {"step": torch.from_numpy(np.array(step)), **moments}
                put(torch, moments["exp_avg"], average)
                put(torch, moments["exp_avg_sq"], square)

    def graph(self) -> bytes:
        if self.shape is not None:
            return dense_graph(self.shape, self.weights(), len(self._task.names))
        return exported(self._torch, self._module.eval(), len(self._task.names))

    def native(self, scale: Scale) -> Mapping[str, bytes]:
        return torch_program(self._torch, self._module.eval(), scale, self._task)

    def _tensors(self) -> list[Any]:
        """All that the margins depend on: parameters, then what layers count, such as a mean of batches."""
        return [*self._module.parameters(), *self._module.buffers()]

    def _turned(self, number: int, values: Array) -> Array:
        """Of a dense layer the matrix (out, in) as (in, out), and back; other tensors as they are."""
        is_matrix = self.shape is not None and number >= len(self.shape.categories) and values.ndim == 2
        return values.T if is_matrix else values

    def _total(self, features: Array, labels: Array, weights: Array) -> Any:
        """The sum of the rows' losses by their weights."""
        torch, functional = self._torch, self._torch.nn.functional
        margins, truth = self._module(torch.from_numpy(features)), torch.from_numpy(labels)
        if self._task.kind == "multiclass":
            each = functional.cross_entropy(margins, truth.long(), reduction="none")
        elif self._task.kind == "multilabel":
            each = functional.binary_cross_entropy_with_logits(margins, truth, reduction="none").mean(dim=1)
        elif self._task.kind == "binary":
            each = functional.binary_cross_entropy_with_logits(margins[:, 0], truth, reduction="none")
        else:
            each = (margins[:, 0] - truth) ** 2
        return (each * torch.from_numpy(weights)).sum()

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes, in one message."""
        if self._group.size == 1 or self._sharded:
            return
        for one in self._parameters:
            one.grad = self._torch.zeros_like(one) if one.grad is None else one.grad
        flat = self._group.sum(self._torch.cat([one.grad.ravel() for one in self._parameters]))
        for one, summed in zip(self._parameters, flat.split([o.numel() for o in self._parameters]), strict=True):
            one.grad.copy_(summed.view_as(one))
