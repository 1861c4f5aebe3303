"""Parameters of which each process keeps a share: put there, and taken together again."""

from __future__ import annotations

from typing import Any

import numpy as np

from carrara.core.plugins import require
from carrara.training.trainers.base import Array


def shard(torch: Any, module: Any, workers: int, kind: str) -> None:
    """Leave each process its share of a module's parameters, which are on devices of a kind; its gradient is the mean
    of what all have found."""
    mesh = torch.distributed.device_mesh.init_device_mesh(kind, (workers,))
    require("torch.distributed.fsdp", extra="torch", purpose="sharded parameters").fully_shard(
        module, mesh=mesh, reshard_after_forward=True
    )


def whole(tensor: Any) -> Array:
    """All of a tensor, wherever it is, as an array of its own; all processes take part where it is sharded."""
    tensor = tensor.detach()
    # An array of a copy: what NumPy has seen can no longer be resized, and FSDP does.
    return np.asarray((tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).clone().cpu().numpy())


def put(torch: Any, tensor: Any, values: Array) -> None:
    """Take over values, or this process's share of them."""
    found = torch.from_numpy(np.array(values)).to(tensor.device)
    if hasattr(tensor, "device_mesh"):
        tensors = require("torch.distributed.tensor", extra="torch", purpose="sharded parameters")
        found = tensors.distribute_tensor(found, tensor.device_mesh, tensor.placements)
    with torch.no_grad():
        tensor.copy_(found)
