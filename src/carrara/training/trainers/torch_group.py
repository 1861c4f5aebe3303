"""The processes that train one PyTorch net together, and how they add up what each has found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from carrara.core.errors import TrainingError
from carrara.training.cluster.cores import cores
from carrara.training.trainers.device import has_own_card, torch_device

_PATIENCE_SECONDS = 120
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Group:
    """The processes of a fit, by their number, and the device that this one computes on; each takes every `size`-th
    row, and what they tell one another goes by the `backend`."""

    torch: Any
    device: Any
    rank: int = 0
    size: int = 1
    backend: str | None = None

    def sum(self, tensor: Any) -> Any:
        if self.size > 1:
            self.torch.distributed.all_reduce(tensor)
        return tensor

    def total(self, number: float) -> float:
        """The sum of a number over all processes."""
        # A float64 that Apple's GPUs do not have; they are one process.
        tensor = self.torch.tensor([number], dtype=self.torch.float64)
        return float(self.sum(tensor.to(self.device)) if self.size > 1 else tensor)


@contextmanager
def joined(torch: Any, asked: str, *, sharded: bool) -> Iterator[Group]:
    """The processes of a fit, by the addresses in the environment: by NCCL where each has a card of its own, and else
    by Gloo. Raises TrainingError where they have not the same kind of device, or share a card and shards."""
    if os.environ["MASTER_ADDR"].startswith("127."):
        # Nothing listens beyond this machine.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    rank, workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    patience = timedelta(seconds=_PATIENCE_SECONDS)
    device = _device(torch, asked, sharded)
    own = device.type == "cuda" and ":" not in asked and has_own_card(torch.cuda.device_count())
    nccl = own and torch.distributed.is_nccl_available()
    # By the kind of a tensor's device: Gloo for those on the CPU in any case.
    backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
    torch.distributed.init_process_group(backend, init_method=where, rank=rank, world_size=workers, timeout=patience)
    torch.set_num_threads(cores())
    try:
        _check_same(torch, nccl, device, workers)
        yield Group(torch, device, rank, workers, "nccl" if nccl else "gloo")
    finally:
        torch.distributed.destroy_process_group()


def _device(torch: Any, asked: str, sharded: bool) -> Any:
    shares = not has_own_card(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if asked == "auto" and (torch.backends.mps.is_available() or (sharded and shares)):
        asked = "cpu"
    if sharded and shares and asked.startswith("cuda") and torch.cuda.is_available():
        raise TrainingError(
            f"{os.environ.get('LOCAL_WORLD_SIZE', '1')} processes keep shares of a net's parameters, and there are "
            f"{torch.cuda.device_count()} cards for them",
            hint='Take as many --workers as there are cards, or device="cpu".',
        )
    return torch_device(torch, asked)


def _check_same(torch: Any, nccl: bool, device: Any, workers: int) -> None:
    kinds = torch.tensor([float(nccl), float(device.type == "cuda")])
    torch.distributed.all_reduce(kinds)
    if any(float(kind) not in (0.0, float(workers)) for kind in kinds):
        raise TrainingError(
            f"some of {workers} processes have a card of their own, and others do not",
            hint='Train on machines that are alike, or with device="cpu".',
        )
