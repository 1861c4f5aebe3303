"""Programs of torch.export, exported by PyTorch and judged by it; what could run code is never opened."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from carrara.core.errors import DataError, RequestError
from carrara.models.runtimes.base import open_folder, open_servable
from carrara.models.signature import Signature, TensorSpec

torch = pytest.importorskip("torch")


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, rows, scale):
        found = self.inner(rows) * scale[:, None]
        return {"scores": found, "best": found.argmax(dim=1)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    module = Linear().eval()
    batch = torch.export.Dim("batch", min=1)
    arguments = (torch.ones(4, 3), torch.ones(4))
    program = torch.export.export(module, arguments, dynamic_shapes=({0: batch}, {0: batch}))
    folder = tmp_path_factory.mktemp("torch")
    torch.export.save(program, folder / "model.pt2")
    return module, folder


def test_a_program_answers_as_the_module_does(exported):
    module, folder = exported
    servable = open_folder(folder)["serving_default"]
    servable.warm_up()
    assert servable.signature.inputs == (
        TensorSpec("rows", "float32", (None, 3)),
        TensorSpec("scale", "float32", (None,)),
    )
    assert [(spec.name, spec.dtype) for spec in servable.signature.outputs] == [
        ("scores", "float32"),
        ("best", "int64"),
    ]
    for count in (1, 7):
        rows = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
        scale = np.full(count, 2, np.float32)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(rows), torch.from_numpy(scale))
        found = servable.run({"rows": rows, "scale": scale})
        np.testing.assert_allclose(found["scores"], wanted["scores"].numpy(), rtol=1e-6)
        np.testing.assert_array_equal(found["best"], wanted["best"].numpy())
    with pytest.raises(RequestError, match="refuses"):
        servable.run({"rows": np.zeros((2, 5), np.float32), "scale": np.zeros(2, np.float32)})


def test_named_features_are_the_matrix_of_a_program_that_takes_one(tmp_path):
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(torch.nn.Linear(2, 1), (torch.ones(4, 2),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "model.pt2")
    signature = Signature((TensorSpec("b", "float32"), TensorSpec("a", "float32")), (TensorSpec("score", "float32"),))
    servable = open_servable("torch", tmp_path, signature)
    found = servable.run({"a": np.ones(5), "b": np.zeros(5)})
    assert found["score"].shape == (5,)


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))


def changed(data: bytes, change) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return made.getvalue()


def pickled_inputs(name: str, data: bytes) -> bytes:
    return pickle.dumps(Evil()) if "/sample_inputs/" in name else data


def pickled_weights(name: str, data: bytes) -> bytes:
    return data.replace(b'"use_pickle": false', b'"use_pickle": true').replace(
        b'"use_pickle":false', b'"use_pickle":true'
    )


def evaluated_sizes(name: str, data: bytes) -> bytes:
    def poisoned(value):
        if isinstance(value, dict):
            return {
                key: "__import__('os')" if "expr" in key and isinstance(one, str) else poisoned(one)
                for key, one in value.items()
            }
        return [poisoned(one) for one in value] if isinstance(value, list) else value

    return json.dumps(poisoned(json.loads(data))).encode() if name.endswith("/model.json") else data


@pytest.mark.parametrize("change", [pickled_inputs, pickled_weights, evaluated_sizes])
def test_what_could_run_code_is_not_opened(exported, tmp_path, capsys, change):
    data = (exported[1] / "model.pt2").read_bytes()
    assert changed(data, change) != changed(data, lambda name, data: data), "nothing was changed"
    (tmp_path / "model.pt2").write_bytes(changed(data, change))
    with pytest.raises(DataError, match="is not opened"):
        open_folder(tmp_path)
    assert "code has run" not in capsys.readouterr().out


def test_what_is_no_program_says_so(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"no program of torch\.export"):
        open_folder(tmp_path)
