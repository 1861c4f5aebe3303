"""An exported version in a folder answers as the registered one does."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import CarraraError
from carrara.models.registry import open_version, resolve
from carrara.models.runtimes.base import open_folder


def test_an_exported_version_answers_from_a_folder_as_from_the_registry(trained, tmp_path):
    (tmp_path / "1").mkdir()
    trained.models.export("late@1", tmp_path / "1" / "model.carrara")
    servable = open_folder(tmp_path / "1")["serving_default"]
    servable.warm_up()
    own = open_version(trained.stores, resolve(trained.stores, "late@1"))
    rows = {spec.name: np.linspace(0, 3, 7).astype(spec.dtype) for spec in own.signature.inputs}
    assert servable.signature == own.signature
    for name, values in own.run(rows).items():
        np.testing.assert_array_equal(servable.run(rows)[name], values)
    (tmp_path / "1" / "model.carrara").write_bytes(b"no bundle")
    with pytest.raises(CarraraError):
        open_folder(tmp_path / "1")
