"""Neural nets by PyTorch, on the CPU or on an accelerator, in one process or in several that share each batch and add
up their gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from carrara.core.errors import NotFoundError, TrainingError
from carrara.core.plugins import require
from carrara.training.stopwatch import Stopwatch
from carrara.training.trainers.base import Array, Fitted, Part, Task, refuse_missing
from carrara.training.trainers.device import described, torch_device
from carrara.training.trainers.epochs import Scale, run_epochs
from carrara.training.trainers.layers import frozen_layers
from carrara.training.trainers.net_graph import dense_graph
from carrara.training.trainers.net_native import torch_program
from carrara.training.trainers.nets import NetTrainer, fit_net
from carrara.training.trainers.shape import Shape
from carrara.training.trainers.torch_feed import Batch, Feed
from carrara.training.trainers.torch_group import Group, joined
from carrara.training.trainers.torch_modules import built, dense, exported
from carrara.training.trainers.torch_shards import put, shard, whole

_ROWS_AT_ONCE = 65_536
_PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Torch(NetTrainer):
    __doc__ = f"""A net of dense layers by PyTorch, with AdamW. {NetTrainer.__doc__}

    `precision` is that of steps: "float32", "tf32" (products of NVIDIA's tensor cores) or "bf16" (mixed); losses are
    measured, and the model is served, in float32. It is `deterministic` unless told otherwise.
    Where several processes train it and it is `sharded`, each keeps a share of the parameters and of the optimiser's
    moments (FSDP; Zhao and others, 2023), for nets that are larger than the memory of one.
    """

    sharded: bool = False
    precision: str = "float32"
    deterministic: bool = True

    name = "torch"
    distributed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in _PRECISIONS:
            raise NotFoundError("precision", self.precision, _PRECISIONS)

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        torch = _ready(self, train, task)
        # What other processes have trained is only finished here, where there need be no accelerator.
        group = Group(torch, torch_device(torch, "cpu" if task.trained else self.device))
        with _told_of(self):
            net = _TorchNet(torch, self, task, group)
            task.computed(_device(torch, self, group))
            fitted = fit_net(self, net, train, validation, task)
        return replace(fitted, libraries=("torch", *fitted.libraries))

    def join(self, train: Part, validation: Part, task: Task) -> None:
        torch = _ready(self, train, task)
        with joined(torch, self.device, sharded=self.sharded) as group, _told_of(self):
            task.computed(_device(torch, self, group))
            run_epochs(self, _TorchNet(torch, self, task, group), train, validation, task)


def _ready(trainer: Torch, train: Part, task: Task) -> Any:
    # Read when CUDA's library of products is first used; without it two runs differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch = require("torch", extra="torch", purpose="the trainer 'torch'")
    refuse_missing(train, task)
    # As use_deterministic_algorithms(True), which would import the compiler for a second (2.13).
    torch.set_deterministic_debug_mode("error" if trainer.deterministic else "default")
    if torch.version.cuda:
        # PyTorch takes float32 for products and TF32 for convolutions, if it is not told. Not by `fp32_precision`, the
        # newer switch: an export asks for the older ones, which then disagree (2.11).
        torch.set_float32_matmul_precision("high" if trainer.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = trainer.precision == "tf32"
        # A check for memory that is read before it is written: a kernel for each tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False
    return torch


@contextmanager
def _told_of(trainer: Torch) -> Iterator[None]:
    """TrainingError for what an accelerator cannot do."""
    try:
        yield
    except RuntimeError as error:
        if "OutOfMemoryError" in type(error).__name__:
            raise TrainingError(
                f"the device has not enough memory: {str(error).splitlines()[0]}",
                hint=f'A smaller batch_rows than {trainer.batch_rows:,}, or precision="bf16".',
            ) from error
        if "deterministic" in str(error):
            raise TrainingError(
                f"the net has an operation that gives another answer each time: {str(error).splitlines()[0]}",
                hint='Another operation, device="cpu", or deterministic=False, with which no two runs are equal.',
            ) from error
        raise


def _device(torch: Any, trainer: Torch, group: Group) -> dict[str, Any]:
    """What a record tells of the device."""
    if group.device.type != "cuda":
        return described(str(group.device), precision=trainer.precision, backend=group.backend)
    return {
        **described(str(group.device), precision=trainer.precision, backend=group.backend),
        "name": torch.cuda.get_device_name(group.device),
        "cuda": torch.version.cuda or torch.version.hip,
        "cudnn": str(torch.backends.cudnn.version()),
        "deterministic": trainer.deterministic,
    }


class _TorchNet:
    format = "torch"

    def __init__(self, torch: Any, trainer: Torch, task: Task, group: Group) -> None:
        self._torch, self._task, self._group = torch, task, group
        self.watch = Stopwatch()
        self.shape = Shape.of(trainer.layers, task) if trainer.build is None else None
        torch.manual_seed(task.seed)
        # Made on the CPU, so that a seed gives the same first weights everywhere.
        if self.shape is not None:
            self._module = dense(torch, self.shape, trainer.dropout)
        else:
            self._module = built(torch, trainer.build, task)
        held = frozen_layers(trainer.freeze, self.names(), task)
        for name, one in zip(self.names(), self._tensors(), strict=True):
            if name in held:
                one.requires_grad_(False)
        self._module.to(group.device)
        self._feed = Feed(torch, group.device, group.rank, group.size)
        self._sharded = trainer.sharded and group.size > 1
        if self._sharded:
            shard(torch, self._module, group.size, group.device.type)
        self._parameters = [one for one in self._module.parameters() if one.requires_grad]
        # One kernel for all parameters; not on the CPU, where its sums are others.
        self._fused = group.device.type == "cuda" and not self._sharded
        how: dict[str, Any] = {"fused": True} if self._fused else {"foreach": False}
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=trainer.learning_rate, weight_decay=trainer.weight_decay, **how
        )
        self._mixed = trainer.precision == "bf16"
        self._parts = trainer.accumulate

    def begin(self, epoch: int) -> None:
        self._torch.manual_seed(self._task.seed * 1_000_003 + epoch + 7_919 * self._group.rank)

    def learn(self, part: Part, orders: Iterable[Array]) -> None:
        self._module.train()
        with self.watch.running():
            for batch in self.watch.fed(self._feed.batches(part, orders)):
                self._step(batch)

    def _step(self, batch: Batch) -> None:
        self._optimiser.zero_grad()
        for part in batch.parts(self._parts):
            if len(part.labels) or self._sharded:
                # Each process's loss is a part of the batch's: sharded gradients are means, and their sum is wanted.
                times = self._group.size if self._sharded else 1
                with self._autocast():
                    margins = self._module(part.features)
                (self._total(margins.float(), part) * (times / part.total)).backward()
        self._share_gradients()
        self._optimiser.step()

    def loss(self, part: Part) -> float:
        self._module.eval()
        weights = float(len(part.labels)) if part.weights is None else float(part.weights.sum(dtype=np.float64))
        with self._torch.no_grad():
            parts = [self._total(self._module(rows.features), rows) for rows in self._feed.slices(part)]
        return self._group.total(sum(map(float, parts))) / weights

    def to_cpu(self) -> None:
        self._module.to("cpu")
        self._group = Group(self._torch, self._torch.device("cpu"))
        self._feed = Feed(self._torch, self._group.device)

    def predict(self, features: Array) -> Array:
        self._module.eval()
        with self._torch.no_grad():
            parts = [
                self._module(self._on(features[start : start + _ROWS_AT_ONCE])).cpu().numpy()
                for start in range(0, len(features), _ROWS_AT_ONCE)
            ]
        return np.concatenate(parts)

    def weights(self) -> list[Array]:
        return [self._turned(n, whole(one)).copy() for n, one in enumerate(self._tensors())]

    def names(self) -> list[str]:
        if self.shape is not None:
            return list(self.shape.names)
        named = (*self._module.named_parameters(), *self._module.named_buffers())
        return [name for name, _ in named]

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
                # On its device where one kernel does all.
                step = torch.from_numpy(np.array(step))
                self._optimiser.state[one] = {"step": step.to(one.device) if self._fused else step, **moments}
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

    def _on(self, values: Array) -> Any:
        return self._torch.from_numpy(values).to(self._group.device)

    def _autocast(self) -> Any:
        if not self._mixed:
            return nullcontext()
        return self._torch.autocast(self._group.device.type, self._torch.bfloat16)

    def _total(self, margins: Any, batch: Batch) -> Any:
        """The sum of the rows' losses by their weights."""
        functional, truth = self._torch.nn.functional, batch.labels
        if self._task.kind == "multiclass":
            each = functional.cross_entropy(margins, truth.long(), reduction="none")
        elif self._task.kind == "multilabel":
            each = functional.binary_cross_entropy_with_logits(margins, truth, reduction="none").mean(dim=1)
        elif self._task.kind == "binary":
            each = functional.binary_cross_entropy_with_logits(margins[:, 0], truth, reduction="none")
        else:
            each = (margins[:, 0] - truth) ** 2
        return (each * batch.weights).sum()

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes, in one message."""
        if self._group.size == 1 or self._sharded:
            return
        for one in self._parameters:
            one.grad = self._torch.zeros_like(one) if one.grad is None else one.grad
        flat = self._torch.cat([one.grad.ravel() for one in self._parameters])
        with self.watch.waiting():
            self._group.sum(flat)
        for one, summed in zip(self._parameters, flat.split([o.numel() for o in self._parameters]), strict=True):
            one.grad.copy_(summed.view_as(one))
