"""The protocol of a servable, and how a runtime is found by the format's name.

To add a runtime: write a class with these methods, whose constructor takes (folder, signature),
and name it in the entry-point group `carrara.runtimes` under the format's name.
With a `FILE` and an `open_folder`, its format is served from plain folders too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from carrara.core.errors import ConfigurationError, NotFoundError
from carrara.core.plugins import plugin, plugins
from carrara.models.signature import Signature

Tensors = Mapping[str, np.ndarray[Any, Any]]

OF_FOLDERS = ("onnx", "tensorflow")
"""The formats that servers of folders open, where the transforms are inside."""

TRANSFORMS = "transforms.onnx"
"""The file with a model's transforms, beside a model that is in its own format: what its runtime takes is the matrix
that they make, float32 of shape (rows, columns)."""

COLUMNS = "columns.json"
"""The file, beside what was learned, with that matrix's columns: their names, and the features each is made of."""


class Servable(Protocol):
    """A loaded model version; the same object evaluates, predicts in batch and serves."""

    signature: Signature

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs for `inputs` (one array per input of the signature, the first axis counts rows)."""

    def warm_up(self) -> None:
        """Run once, so that the first request is not the slow one."""

    def close(self) -> None:
        """Release memory and files; the servable is not used again."""


class FolderRuntime(Protocol):
    """A runtime whose files say by themselves how they are called."""

    FILE: str
    """The file in a folder that tells this format."""

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The model in `folder`, loaded once: one servable per signature, by the signature's name.

        `tags` choose one of several graphs, in the formats that hold several.
        """


def open_folder(folder: Path, tags: Sequence[str] = ("serve",), *, allow_code: bool = False) -> dict[str, Servable]:
    """Open a plain folder by the runtime whose file is in it; NotFoundError where there is none.

    A runtime that runs the user's code does so with `allow_code` only; ConfigurationError otherwise.
    """
    runtimes = [found for found in plugins("carrara.runtimes") if hasattr(found, "FILE")]
    for runtime in runtimes:
        if (folder / runtime.FILE).is_file():
            if getattr(runtime, "RUNS_CODE", False) and not allow_code:
                raise ConfigurationError(
                    f"{folder / runtime.FILE} is code, and this server was not told that it may run it",
                    hint="Start it with --allow-python if you trust what is in that folder.",
                )
            opened: dict[str, Servable] = runtime.open_folder(folder, tags)
            return opened
    known = ", ".join(dict.fromkeys(runtime.FILE for runtime in runtimes))
    raise NotFoundError("model file", str(folder), hint=f"A version's folder holds one of: {known}.")


def open_servable(format_name: str, folder: Path, signature: Signature) -> Servable:
    """Open the artifact in `folder` with the runtime of `format_name`."""
    runtime = plugin("carrara.runtimes", format_name, kind="runtime")
    servable: Servable = runtime(folder, signature)
    return servable
