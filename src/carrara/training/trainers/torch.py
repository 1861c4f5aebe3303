"""Neural nets by PyTorch, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.training.trainers.base import Array, Fitted, Part, Task
from carrara.training.trainers.nets import NetTrainer, Shape, fit_net, refuse_missing

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Torch(NetTrainer):
    __doc__ = f"""A net of dense layers by PyTorch, with AdamW. {NetTrainer.__doc__}"""

    name = "torch"

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        torch = require("torch", extra="torch", purpose="the trainer 'torch'")
        refuse_missing(train, task)
        torch.use_deterministic_algorithms(True)
        shape = Shape.of(self, task)
        fitted = fit_net(self, _TorchNet(torch, self, shape, task), shape, train, validation, task)
        return replace(fitted, libraries=("torch", *fitted.libraries))


class _TorchNet:
    def __init__(self, torch: Any, trainer: NetTrainer, shape: Shape, task: Task) -> None:
        self._torch, self._shape, self._task = torch, shape, task
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
        self._torch.manual_seed(self._task.seed * 1_000_003 + epoch)

    def step(self, features: Array, labels: Array, weights: Array) -> None:
        self._all.train()
        self._optimiser.zero_grad()
        self._losses(features, labels, weights).backward()
        self._optimiser.step()

    def loss(self, part: Part) -> float:
        self._all.eval()
        total, weight = 0.0, 0.0
        with self._torch.no_grad():
            for start in range(0, len(part.labels), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                given = np.ones(len(part.labels[rows]), np.float32) if part.weights is None else part.weights[rows]
                total += float(self._losses(part.features[rows], part.labels[rows], given)) * float(given.sum())
                weight += float(given.sum())
        return total / weight

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

    def _losses(self, features: Array, labels: Array, weights: Array) -> Any:
        torch, functional = self._torch, self._torch.nn.functional
        margins, truth = self._margins(torch.from_numpy(features)), torch.from_numpy(labels)
        if self._task.kind == "multiclass":
            each = functional.cross_entropy(margins, truth.long(), reduction="none")
        elif self._task.kind == "binary":
            each = functional.binary_cross_entropy_with_logits(margins[:, 0], truth, reduction="none")
        else:
            each = (margins[:, 0] - truth) ** 2
        counted = torch.from_numpy(weights)
        return (each * counted).sum() / counted.sum()
