"""Neural nets by PyTorch, on the CPU, in one process or in several that share each batch and add up their gradients."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from carrara.core.plugins import require
from carrara.training.cluster.launcher import WorkerProcesses
from carrara.training.cluster.worker import write_work
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.nets import NetTrainer, Shape, fit_net, refuse_missing

_ROWS_AT_ONCE = 65_536
_PATIENCE_SECONDS = 120
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Torch(NetTrainer):
    __doc__ = f"""A net of dense layers by PyTorch, with AdamW. {NetTrainer.__doc__}"""

    name = "torch"
    distributed: ClassVar[bool] = True

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        torch = require("torch", extra="torch", purpose="the trainer 'torch'")
        refuse_missing(train, task)
        if task.workers == 1:
            return _fit(torch, self, train, validation, task, _Group(torch, 0, 1))
        with tempfile.TemporaryDirectory(prefix="carrara-") as folder:
            write_work(Path(folder), self, train, validation, task)
            command = ["-m", "carrara.training.cluster.worker", folder]
            with WorkerProcesses(task.workers, command) as workers:
                try:
                    with _joined(torch, 0, task.workers, workers.address, workers.port) as group:
                        return _fit(torch, self, train, validation, task, group)
                except RuntimeError as error:  # What gloo raises when somebody is gone, or does not come.
                    raise workers.explained(error) from error


def join(trainer: Torch, train: Part, validation: Part, task: Task, *, rank: int) -> None:
    """Take part in a fit as another rank than 0, by the addresses in the environment."""
    torch = require("torch", extra="torch", purpose="the trainer 'torch'")
    where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    with _joined(torch, rank, int(os.environ["WORLD_SIZE"]), *where) as group:
        _fit(torch, trainer, train, validation, task, group)


def _fit(torch: Any, trainer: Torch, train: Part, validation: Part, task: Task, group: _Group) -> Fitted:
    torch.use_deterministic_algorithms(True)
    shape = Shape.of(trainer, task)
    fitted = fit_net(trainer, _TorchNet(torch, trainer, shape, task, group), shape, train, validation, task)
    return replace(fitted, libraries=("torch", *fitted.libraries))


@contextmanager
def _joined(torch: Any, rank: int, workers: int, address: str, port: int) -> Iterator[_Group]:
    """The processes of a fit, which share the cores of this machine."""
    # Nothing listens beyond this machine.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    where, threads = f"tcp://{address}:{port}", torch.get_num_threads()
    patience = timedelta(seconds=_PATIENCE_SECONDS)
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=workers, timeout=patience)
    torch.set_num_threads(max(1, threads // workers))
    try:
        yield _Group(torch, rank, workers)
    finally:
        torch.set_num_threads(threads)
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
    def __init__(self, torch: Any, trainer: NetTrainer, shape: Shape, task: Task, group: _Group) -> None:
        self._torch, self._shape, self._task, self._group = torch, shape, task, group
        torch.manual_seed(task.seed)
        sizes = zip(shape.categories, shape.dimensions, strict=True)
        self._embeddings = torch.nn.ModuleList(torch.nn.Embedding(size, width) for (_, size), width in sizes)
        self._dense = torch.nn.ModuleList(torch.nn.Linear(wide, to) for wide, to in shape.widths)
        self._dropout = torch.nn.Dropout(trainer.dropout)
        self._all = torch.nn.ModuleList([*self._embeddings, *self._dense, self._dropout])
        parameters = list(self._all.parameters())
        self._optimiser = torch.optim.AdamW(
            parameters, lr=trainer.learning_rate, weight_decay=trainer.weight_decay, foreach=False
        )

    def begin(self, epoch: int) -> None:
        self._torch.manual_seed(self._task.seed * 1_000_003 + epoch + 7_919 * self._group.rank)

    def step(self, features: Array, labels: Array, weights: Array) -> None:
        self._all.train()
        self._optimiser.zero_grad()
        mine = (self._group.mine(values) for values in (features, labels, weights))
        (self._total(*mine) / float(weights.sum())).backward()
        self._share_gradients()
        self._optimiser.step()

    def loss(self, part: Part) -> float:
        self._all.eval()
        weights = np.ones(len(part.labels), np.float32) if part.weights is None else part.weights
        features, labels, mine = (self._group.mine(values) for values in (part.features, part.labels, weights))
        total = self._torch.zeros(1, dtype=self._torch.float64)
        with self._torch.no_grad():
            for start in range(0, len(labels), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                total += self._total(features[rows], labels[rows], mine[rows]).double()
        return float(self._group.sum(total)) / float(weights.sum(dtype=np.float64))

    def end(self) -> None:
        if self._group.rank:
            sys.exit(0)
        self._torch.set_num_threads(self._torch.get_num_threads() * self._group.size)
        self._group = _Group(self._torch, 0, 1)

    def predict(self, features: Array) -> Array:
        self._all.eval()
        with self._torch.no_grad():
            parts = [
                self._margins(self._torch.from_numpy(features[start : start + _ROWS_AT_ONCE])).numpy()
                for start in range(0, len(features), _ROWS_AT_ONCE)
            ]
        return np.concatenate(parts)

    def weights(self) -> list[Array]:
        tables = [one.weight.detach().numpy().copy() for one in self._embeddings]
        dense = [(one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy()) for one in self._dense]
        return [*tables, *(array for pair in dense for array in pair)]

    def begin_with(self, weights: Sequence[Array]) -> None:
        torch, tables = self._torch, len(self._embeddings)
        with torch.no_grad():
            for one, values in zip(self._embeddings, weights, strict=False):
                one.weight.copy_(torch.from_numpy(values))
            for number, one in enumerate(self._dense):
                one.weight.copy_(torch.from_numpy(weights[tables + 2 * number].T.copy()))
                one.bias.copy_(torch.from_numpy(weights[tables + 2 * number + 1]))

    def state(self) -> list[Array]:
        found = [one.detach().numpy().copy() for one in self._all.parameters()]
        for one in self._all.parameters():
            zeros = self._torch.zeros_like(one)
            moments = self._optimiser.state[one] or {"exp_avg": zeros, "exp_avg_sq": zeros, "step": 0.0}
            found += [moments["exp_avg"].numpy().copy(), moments["exp_avg_sq"].numpy().copy()]
            found.append(np.array(float(moments["step"]), np.float32))
        return found

    def restore(self, state: Sequence[Array]) -> None:
        parameters, torch = list(self._all.parameters()), self._torch
        with torch.no_grad():
            for one, values in zip(parameters, state, strict=False):
                one.copy_(torch.from_numpy(np.array(values)))
        for number, one in enumerate(parameters):
            start = len(parameters) + 3 * number
            average, square, step = (torch.from_numpy(np.array(values)) for values in state[start : start + 3])
            if float(step):
                self._optimiser.state[one] = {"step": step, "exp_avg": average, "exp_avg_sq": square}

    def _margins(self, features: Any) -> Any:
        torch, shape = self._torch, self._shape
        parts = [features[:, list(shape.numbers)]]
        for (place, size), table in zip(shape.categories, self._embeddings, strict=True):
            parts.append(table(features[:, place].long().clamp(0, size - 1)))
        flow = torch.cat(parts, dim=1)
        for layer in self._dense[:-1]:
            flow = self._dropout(torch.relu(layer(flow)))
        return self._dense[-1](flow)

    def _total(self, features: Array, labels: Array, weights: Array) -> Any:
        """The sum of the rows' losses by their weights."""
        torch, functional = self._torch, self._torch.nn.functional
        margins, truth = self._margins(torch.from_numpy(features)), torch.from_numpy(labels)
        if self._task.kind == "multiclass":
            each = functional.cross_entropy(margins, truth.long(), reduction="none")
        elif self._task.kind == "binary":
            each = functional.binary_cross_entropy_with_logits(margins[:, 0], truth, reduction="none")
        else:
            each = (margins[:, 0] - truth) ** 2
        return (each * torch.from_numpy(weights)).sum()

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes, in one message."""
        if self._group.size == 1:
            return
        gradients = [one.grad for one in self._all.parameters()]
        flat = self._group.sum(self._torch.cat([one.ravel() for one in gradients]))
        for one, summed in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            one.copy_(summed.view_as(one))
