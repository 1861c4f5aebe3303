"""TensorFlow Serving's Classify, Regress and MultiInference: rows as `tf.Example`, answers as classes and values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import RequestError
from carrara.models.signature import CLASSIFY, DEFAULT_SIGNATURE, REGRESS
from carrara.serving.protocols.calls import Asked, Method
from carrara.serving.protocols.example_rows import EXAMPLES
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import choice_of, parsed, write_spec
from carrara.serving.protocols.tensors import as_bytes
from carrara.serving.requests import Answer, Request

Array = np.ndarray[Any, Any]

CLASSIFY_METHOD = "/tensorflow.serving.PredictionService/Classify"
REGRESS_METHOD = "/tensorflow.serving.PredictionService/Regress"
MULTI_INFERENCE = "/tensorflow.serving.PredictionService/MultiInference"

_CLASSES, _SCORES, _OUTPUTS = "classes", "scores", "outputs"


def methods() -> dict[str, Method]:
    return {CLASSIFY_METHOD: classify, REGRESS_METHOD: regress, MULTI_INFERENCE: multi_inference}


def classify(data: bytes) -> Asked:
    request = parsed("tensorflow.serving.ClassificationRequest", data)

    def encode(answers: Sequence[Answer]) -> bytes:
        response = message("tensorflow.serving.ClassificationResponse")()
        write_spec(response.model_spec, answers[0])
        write_classes(response.result, answers[0].outputs)
        return bytes(response.SerializeToString())

    return Asked((_request(request.model_spec, serialized(request.input)),), encode)


def regress(data: bytes) -> Asked:
    request = parsed("tensorflow.serving.RegressionRequest", data)

    def encode(answers: Sequence[Answer]) -> bytes:
        response = message("tensorflow.serving.RegressionResponse")()
        write_spec(response.model_spec, answers[0])
        write_values(response.result, answers[0].outputs)
        return bytes(response.SerializeToString())

    return Asked((_request(request.model_spec, serialized(request.input)),), encode)


def multi_inference(data: bytes) -> Asked:
    """Several signatures of one version, asked about the same rows."""
    request = parsed("tensorflow.serving.MultiInferenceRequest", data)
    rows, writers = serialized(request.input), [_writer(task) for task in request.tasks]
    requests = tuple(_request(task.model_spec, rows) for task in request.tasks)
    if len({one.choice.endpoint for one in requests}) > 1:
        raise RequestError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    names = [one.signature_name or DEFAULT_SIGNATURE for one in requests]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"Duplicate evaluation of signature: {name}")

    def encode(answers: Sequence[Answer]) -> bytes:
        response = message("tensorflow.serving.MultiInferenceResponse")()
        for answer, write in zip(answers, writers, strict=True):
            result = response.results.add()
            write_spec(result.model_spec, answer)
            write(result, answer.outputs)
        return bytes(response.SerializeToString())

    return Asked(requests, encode)


def _writer(task: Any) -> Callable[[Any, Mapping[str, Array]], None]:
    if task.method_name == CLASSIFY:
        return lambda result, outputs: write_classes(result.classification_result, outputs)
    if task.method_name == REGRESS:
        return lambda result, outputs: write_values(result.regression_result, outputs)
    raise RequestError(f"Unsupported signature method_name: {task.method_name}", field="method_name")


def _request(spec: Any, rows: Array) -> Request:
    return Request(choice_of(spec), {EXAMPLES: rows}, spec.signature_name)


def serialized(rows: Any) -> Array:
    """The examples of an Input, each serialized with what they share; RequestError where there are none."""
    if rows.WhichOneof("kind") == "example_list_with_context":
        context = rows.example_list_with_context.context.features.feature
        examples = rows.example_list_with_context.examples
        for example in examples:
            for name, feature in context.items():
                # What an example says itself goes before what all share.
                if name not in example.features.feature:
                    example.features.feature[name].CopyFrom(feature)
    else:
        examples = rows.example_list.examples
    if not examples:
        raise RequestError("Input is empty")
    made = np.empty(len(examples), dtype=object)
    made[:] = [example.SerializeToString() for example in examples]
    return made


@dataclass(frozen=True)
class Classes:
    """What a classification's outputs say of each row: labels, scores, or both; (rows, classes) each."""

    labels: Array | None
    scores: Array | None

    def rows(self) -> list[list[tuple[str, float]]]:
        """(label, score) of each class of each row; empty and 0 where it is not given."""
        either = self.labels if self.labels is not None else self.scores
        assert either is not None
        labels = np.full(either.shape, b"", object) if self.labels is None else self.labels
        scores = np.zeros(either.shape) if self.scores is None else self.scores
        return [
            [(as_bytes(label).decode(errors="replace"), float(score)) for label, score in zip(*row, strict=True)]
            for row in zip(labels, scores, strict=True)
        ]


def classes_of(outputs: Mapping[str, Array]) -> Classes:
    """The classes in a signature's outputs; RequestError where they are no classification's.

    Without outputs of those names the only one is taken for the scores: of class 1 where it is one number a row.
    """
    labels, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    if labels is None and scores is None:
        scores = _only_numbers(outputs)
        if scores is None:
            raise RequestError(
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                f"Signature was: {', '.join(outputs)}"
            )
        labels = np.array([str(place).encode() for place in range(scores.shape[1])], object)
        labels = np.broadcast_to(labels, scores.shape)
    for name, found in ((_CLASSES, labels), (_SCORES, scores)):
        if found is not None and found.ndim != 2:
            raise RequestError(
                f"Expected Tensor shape: [batch_size num_classes] but got {list(found.shape)}", field=name
            )
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise RequestError("Tensors class and score should match in batch_size and num_classes")
    return Classes(labels, scores)


def _only_numbers(outputs: Mapping[str, Array]) -> Array | None:
    found = [array for array in outputs.values() if array.dtype.kind == "f"]
    if len(found) != 1:
        return None
    (scores,) = found
    return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores


def values_of(outputs: Mapping[str, Array]) -> list[float]:
    """A regression's value of each row; RequestError where the outputs are no regression's."""
    found = outputs.get(_OUTPUTS)
    if found is None and len(outputs) == 1:
        (found,) = outputs.values()
    if found is None:
        raise RequestError(f"No regression outputs found in SignatureDef: {', '.join(outputs)}")
    if found.dtype.kind not in "fiu" or found.ndim > 2 or (found.ndim == 2 and found.shape[1] != 1):
        raise RequestError(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(found.shape)}"
        )
    return [float(value) for value in found.reshape(-1)]


def write_classes(result: Any, outputs: Mapping[str, Array]) -> None:
    for row in classes_of(outputs).rows():
        entry = result.classifications.add()
        for label, score in row:
            entry.classes.add(label=label, score=score)


def write_values(result: Any, outputs: Mapping[str, Array]) -> None:
    for value in values_of(outputs):
        result.regressions.add(value=value)
