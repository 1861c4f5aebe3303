"""The native forms of nets, for those that have no equal graph: a program of torch.export, a SavedModel.

Both go from FEATURES to the output of the task's kind, as a graph does.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrara.training.trainers.base import FEATURES, OUTPUTS, Task
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


def saved_model(tensorflow: Any, model: Any, scale: Scale, task: Task) -> Mapping[str, bytes]:
    """The files of a SavedModel with the signature `serving_default`, by names of ours."""
    specs = [tensorflow.TensorSpec((None, len(task.names)), tensorflow.float32, name=FEATURES)]

    def answer(features: Any) -> Any:
        margins = model(features, training=False)
        if task.kind == "multiclass":
            found = tensorflow.nn.softmax(margins)
        else:
            is_number = task.kind == "regression"
            found = margins * scale.std + scale.mean if is_number else tensorflow.sigmoid(margins)
            found = found if task.kind in _SEVERAL else tensorflow.reshape(found, (-1,))
        return {OUTPUTS[task.kind]: found}

    holder = tensorflow.Module()
    holder.answer = tensorflow.function(answer, input_signature=specs)
    # Keras keeps the values of its variables in TensorFlow's own, which alone a SavedModel follows (Keras 3).
    holder.values = [getattr(variable, "value", variable) for variable in model.variables]
    with tempfile.TemporaryDirectory(prefix="saved-model-") as folder:
        tensorflow.saved_model.save(holder, folder, signatures={"serving_default": holder.answer})
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}
