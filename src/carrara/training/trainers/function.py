"""Your own trainer: a function from two parts to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from carrara.core.digests import digest_function
from carrara.core.errors import CarraraError, TrainingError
from carrara.models.runtimes.onnx import session
from carrara.training.trainers.base import FEATURES, OUTPUTS, Fitted, Part, Pruned, Task


@dataclass(frozen=True)
class FunctionTrainer:
    """A function `(train, validation, task) -> model`, called with two `Part`s and a `Task`.

    The model is a `Fitted`, an ONNX model (bytes, or a proto) from `features` to the kind's output, or a fitted
    estimator of scikit-learn.
    """

    name: str
    function: Callable[[Part, Part, Task], Any]
    parameters: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **parameters: Any) -> FunctionTrainer:
        """The same with parameters, which the function gets by their names."""
        return FunctionTrainer(self.name, self.function, {**self.parameters, **parameters})

    def with_parameters(self, **parameters: Any) -> FunctionTrainer:
        return self(**parameters)

    def spec(self) -> dict[str, Any]:
        return {"function": digest_function(self.function), **self.parameters}

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        try:
            model = self.function(train, validation, task, **self.parameters)
        except (CarraraError, Pruned, MemoryError):
            raise
        except Exception as error:
            raise TrainingError(f"the trainer '{self.name}' failed: {type(error).__name__}: {error}") from error
        if isinstance(model, Fitted):
            return model
        if hasattr(model, "SerializeToString"):
            model = model.SerializeToString()
        if isinstance(model, bytes):
            return _of_graph(model, task)
        if hasattr(model, "get_params") and hasattr(model, "predict"):
            from carrara.training.trainers.sklearn import fitted_estimator

            return fitted_estimator(model, task)
        raise TrainingError(
            f"the trainer '{self.name}' returned {type(model).__name__}",
            hint="Return a Fitted, an ONNX model, or a fitted estimator of scikit-learn.",
        )


def trainer(function: Callable[..., Any]) -> FunctionTrainer:
    """Declare a trainer by its function, `(train, validation, task, **parameters) -> model`.

    >>> @trainer
    ... def mine(train, validation, task, depth=3):
    ...     ...
    >>> mine(depth=5).spec()["depth"]
    5
    """
    return FunctionTrainer(function.__name__, function)


def _of_graph(graph: bytes, task: Task) -> Fitted:
    run = session(graph)
    share = 1 / len(task.names)
    return Fitted(
        predict=lambda rows: run.run([OUTPUTS[task.kind]], {FEATURES: rows})[0],
        to_onnx=lambda: graph,
        learned={"model.onnx": graph},
        importance=dict.fromkeys(task.names, share),
        libraries=("onnx",),
    )
