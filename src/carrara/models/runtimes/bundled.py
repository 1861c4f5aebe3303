"""A model that Carrara has exported, in a folder: `carrara model export NAME@VERSION FOLDER/1/model.carrara`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from carrara.models.bundle_file import read_bundle
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.models.version_files import RECORD, SERVABLE


class BundledModel:
    """A folder with `model.carrara`: the model alone, by its features; its definitions are not run."""

    FILE = "model.carrara"

    @staticmethod
    def open_folder(folder: Path, tags: Sequence[str] = ()) -> dict[str, Servable]:
        """The servable in the folder's bundle."""
        return BundledModel.open_file(folder / BundledModel.FILE)

    @staticmethod
    def open_file(file: Path) -> dict[str, Servable]:
        """The servable in a bundle, each of its files verified."""
        index, files = read_bundle(file)
        signature = Signature.from_dict(msgspec.json.decode(files[RECORD])["signature"][DEFAULT_SIGNATURE])
        # A runtime has read its files when it is open: the folder may go.
        with tempfile.TemporaryDirectory(prefix="carrara-") as unpacked:
            for name, data in files.items():
                if name.startswith(SERVABLE):
                    path = Path(unpacked) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            return {DEFAULT_SIGNATURE: open_servable(index.format, Path(unpacked) / SERVABLE, signature)}
