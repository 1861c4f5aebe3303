"""A version from a folder as a predictor: its signatures, by the names that the model itself has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrara.core.errors import NotFoundError, RequestError
from carrara.core.stages import stage
from carrara.models.runtimes.base import Servable
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.serving.contract import Prediction, Target
from carrara.serving.warm_up import warm_up

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Opening:
    """How the versions of folders are opened."""

    saved_model_tags: Sequence[str] = ("serve",)
    warm_up: bool = True
    allow_code: bool = False
    """Whether a folder's own Python may be run."""
    warm_up_iterations: int = 1
    sizes: Sequence[int] = ()
    """Numbers of rows that runs are made up to, ascending; those beyond the last are run as they are."""
    most_rows: int = 0
    """Of requests that are joined in one run; 0 where the server's number holds."""
    own_batching: bool = False
    """Whether a version says in a file of its own how it is batched; one that has none is not batched."""


DEFAULT_OPENING = Opening()


class FolderPredictor:
    """One version of a folder. Thread-safe.

    `warm_up_requests` are run before it serves; a bad one fails the version.
    """

    def __init__(
        self,
        target: Target,
        servables: Mapping[str, Servable],
        opening: Opening = DEFAULT_OPENING,
        warm_up_requests: bytes = b"",
        file_bytes: int = 0,
        *,
        identifier: str = "",
        path: str = "",
    ) -> None:
        self.id, self.path = identifier, path
        self.file_bytes, self.most_rows = file_bytes, opening.most_rows
        self.model, self.version = target.model, target.version
        self._servables, self._opening, self._warm_up_requests = servables, opening, warm_up_requests
        self.signatures = {name: servable.signature for name, servable in servables.items()}

    def signature_for(self, inputs: Mapping[str, Array]) -> str:
        return DEFAULT_SIGNATURE

    def predict(self, inputs: Mapping[str, Array], signature_name: str = "") -> Prediction:
        """The model's outputs; RequestError names a bad input, NotFoundError a signature that is not there."""
        name, where = signature_name or DEFAULT_SIGNATURE, f"{self.model}@{self.version}"
        if name not in self.signatures:
            raise NotFoundError("signature", name, self.signatures, where=where)
        _check(self.signatures[name], inputs, where)
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
        with stage("model.run", rows=rows):
            size = self._size(name, rows)
            return Prediction(self._run(name, inputs, rows, size), name, rows, padding=size - rows)

    def warm_up(self) -> int:
        for servable in self._servables.values():
            servable.warm_up()
        return sum(warm_up(self, self._warm_up_requests) for _ in range(self._opening.warm_up_iterations))

    def _size(self, name: str, rows: int) -> int:
        """The rows of a run, of which so many are asked."""
        if not rows or not self.signatures[name].joins:
            return rows
        return next((one for one in self._opening.sizes if one >= rows), rows)

    def _run(self, name: str, inputs: Mapping[str, Array], rows: int, size: int) -> dict[str, Array]:
        servable = self._servables[name]
        if size == rows:
            return servable.run(inputs)
        # The last row again and again: it is known to be one that the model takes.
        padded = {one: np.concatenate([array, *[array[-1:]] * (size - rows)]) for one, array in inputs.items()}
        return {one: array[:rows] for one, array in servable.run(padded).items()}

    def close(self) -> None:
        for servable in self._servables.values():
            servable.close()


def _check(signature: Signature, inputs: Mapping[str, Array], where: str) -> None:
    """RequestError, in TensorFlow Serving's words, where names or shapes are not those of the signature."""
    wanted, sent = {spec.name for spec in signature.inputs}, inputs.keys()
    if wanted != sent:
        raise RequestError(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). "
            f"Sent extra: {_set(sent - wanted)}. Missing but required: {_set(wanted - sent)}.",
            field=min(sent ^ wanted),
        )
    for spec in signature.inputs:
        spec.check(inputs[spec.name].shape, where)


def _set(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
