"""A model in the caller's own process: from one file or a folder, with no workspace, no server and no network.

It needs of Carrara's libraries only NumPy, msgspec and the model's own runtime, so that it can be installed without the
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError, NotFoundError
from carrara.models.runtimes.base import Servable, open_folder
from carrara.models.runtimes.bundled import BundledModel
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.serving.client.columns import Given, columns_of
from carrara.serving.protocols.coercion import coerced
from carrara.serving.version_sources import is_version

Array = np.ndarray[Any, Any]


class EmbeddedModel:
    """A model that was opened by `load_model`; safe to ask in many threads."""

    def __init__(self, where: str, servables: Mapping[str, Servable]) -> None:
        self._where, self._servables, self._closed = where, servables, False
        self.signatures: dict[str, Signature] = {name: one.signature for name, one in servables.items()}

    def __enter__(self) -> EmbeddedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(self, inputs: Given, *, signature_name: str = DEFAULT_SIGNATURE) -> dict[str, Array]:
        """Outputs by name for columns by name, or rows: what a server of this model answers.

        RequestError names an input that is wrong, NotFoundError a signature that is not there.
        """
        if self._closed:
            raise CarraraError(f"{self._where} is closed", hint="Predict before its `with` block ends.")
        if signature_name not in self._servables:
            raise NotFoundError("signature", signature_name, self.signatures, where=self._where)
        signature = self.signatures[signature_name]
        columns = coerced(columns_of(inputs), signature)
        signature.check(columns, self._where)
        return self._servables[signature_name].run(columns)

    def close(self) -> None:
        self._closed = True
        for servable in self._servables.values():
            servable.close()


def load_model(path: str | Path, *, allow_python: bool = False) -> EmbeddedModel:
    """Open what `carrara model export` wrote, or a folder that a server would serve: a version, or its newest version.

    NotFoundError where there is none; a folder's own Python is run with `allow_python` only.
    """
    place = Path(path)
    if place.is_file():
        return EmbeddedModel(str(place), BundledModel.open_file(place))
    if not place.is_dir():
        raise NotFoundError("model", str(place), hint="Give a file of `carrara model export`, or a folder.")
    versions = [one for one in place.iterdir() if one.is_dir() and is_version(one.name)]
    newest = max(versions, key=lambda one: int(one.name), default=place)
    return EmbeddedModel(str(newest), open_folder(newest, allow_code=allow_python))
