"""The native form of a PyTorch net that has no equal graph: a program of torch.export, from FEATURES to the output of
the task's kind."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from carrara.training.trainers.base import FEATURES, Task
from carrara.training.trainers.epochs import Scale

_SEVERAL = ("multiclass", "multilabel")


def torch_program(torch: Any, module: Any, scale: Scale, task: Task) -> Mapping[str, bytes]:
    """`model.pt2`, which holds tensors and operators, and no code."""

    class Answer(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, features: Any) -> Any:
            margins = self.module(features)
            if task.kind == "multiclass":
                return torch.softmax(margins, dim=1)
            found = margins * scale.std + scale.mean if task.kind == "regression" else torch.sigmoid(margins)
            return found if task.kind in _SEVERAL else found.reshape(-1)

    rows = torch.export.Dim("rows", min=1)
    example = (torch.zeros(2, len(task.names)),)
    program = torch.export.export(Answer().eval(), example, dynamic_shapes={FEATURES: {0: rows}})
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return {"model.pt2": buffer.getvalue()}
