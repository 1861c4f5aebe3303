"""The modules of PyTorch nets: dense layers with embeddings, and an architecture of one's own."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.training.trainers.base import FEATURES, Task
from carrara.training.trainers.blocks import NUMBERS, blocks_of
from carrara.training.trainers.epochs import MARGINS
from carrara.training.trainers.shape import Shape


def dense(torch: Any, shape: Shape, dropout: float) -> Any:
    """A module of the shape; its parameters are the embeddings, then of each layer the matrix (out, in) and offsets."""

    class Dense(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            sizes = zip(shape.categories, shape.dimensions, strict=True)
            self.embeddings = torch.nn.ModuleList(torch.nn.Embedding(size, width) for (_, size), width in sizes)
            self.layers = torch.nn.ModuleList(torch.nn.Linear(wide, to) for wide, to in shape.widths)
            self.dropout = torch.nn.Dropout(dropout)

        def forward(self, features: Any) -> Any:
            parts = [features[:, list(shape.numbers)]]
            for (place, size), table in zip(shape.categories, self.embeddings, strict=True):
                parts.append(table(features[:, place].long().clamp(0, size - 1)))
            flow = torch.cat(parts, dim=1)
            for layer in self.layers[:-1]:
                flow = self.dropout(torch.relu(layer(flow)))
            return self.layers[-1](flow)

    return Dense()


def built(torch: Any, build: Callable[..., Any] | None, task: Task) -> Any:
    """The module that a function builds of the blocks' shapes, as a module of a matrix.

    Raises TrainingError where it does not give margins of shape (rows, outputs).
    """
    assert build is not None
    blocks = blocks_of(task)
    module = build({name: block.shape for name, block in blocks.items()}, task)

    class Fed(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, features: Any) -> Any:
            inputs = {}
            for name, block in blocks.items():
                found = features[:, list(block.places)]
                if block.categories is not None:
                    found = found.long().clamp(0, block.categories - 1)
                inputs[name] = found if name == NUMBERS else found.reshape(-1, *block.shape)
            return self.module(inputs)

    if not isinstance(module, torch.nn.Module):
        raise TrainingError(f"'{build.__name__}' gives {type(module).__name__}, and a torch.nn.Module is expected")
    fed = Fed()
    with torch.no_grad():
        found = tuple(fed.eval()(torch.zeros(2, len(task.names))).shape)
    if found != (2, task.outputs):
        raise TrainingError(
            f"the net of '{build.__name__}' gives {found} for two rows, and (2, {task.outputs}) is expected",
            hint="Its last layer has task.outputs outputs.",
        )
    return fed


def exported(torch: Any, module: Any, columns: int) -> bytes:
    """A module as an ONNX graph from FEATURES to MARGINS."""
    require("onnxscript", extra="torch", purpose="the export of a net of one's own to ONNX")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    rows = torch.export.Dim("rows", min=1)
    program = torch.onnx.export(
        module,
        (torch.zeros(2, columns),),
        input_names=[FEATURES],
        output_names=[MARGINS],
        dynamic_shapes=({0: rows},),
        dynamo=True,
        verbose=False,
    )
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()
