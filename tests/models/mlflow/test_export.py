"""A version that was exported is opened by the real MLflow, and answers there what it answers here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import CarraraError
from carrara.demo.template import write_template
from carrara.models.mlflow.python_function import _load_pyfunc
from carrara.models.registry import opened
from carrara.workspace.workspace import Workspace
from kinds_of_models import KINDS, Kinds
from mlflow_models import FOLDERS, database, expected

SCRIPT = Path(__file__).with_name("asked_by_mlflow.py")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def ask_mlflow(*asked: dict) -> list[dict]:
    """What MLflow, in a process of its own, says of each folder and its rows."""
    lines = "\n".join(json.dumps({**one, "folder": str(one["folder"])}) for one in asked)
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], input=lines, capture_output=True, text=True, env={**os.environ, **QUIET}
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def answers_here(workspace: Workspace, address: str, rows: pl.DataFrame) -> dict[str, list]:
    with opened(workspace.stores, workspace.models.get(address)) as servable:
        found = servable.run(servable.signature.tensors(rows))
    return {name: values.tolist() for name, values in found.items()}


def check(told: dict, here: dict[str, list]) -> None:
    assert set(told["answers"]) == set(here)
    for name, values in here.items():
        if isinstance(values[0], str):
            assert told["answers"][name] == values
        else:
            np.testing.assert_allclose(told["answers"][name], values, rtol=1e-5, atol=1e-6)


def exported(kinds: Kinds, folder: Path, names: tuple[str, ...]) -> list[dict]:
    """What MLflow is asked: the folder of each version, and rows with something missing."""
    asked = []
    for name in names:
        rows = with_gaps(kinds.rows(name))
        path = kinds.workspace.models.export_mlflow(kinds.trained(name), folder / name)
        types = {column: "float64" for column, type_ in rows.schema.items() if type_.is_float()}
        asked.append({"folder": path, "rows": rows.to_dicts(), "dtypes": types})
    return asked


def with_gaps(rows: pl.DataFrame) -> pl.DataFrame:
    """The first number and the first text are not known in the first row."""
    first = pl.int_range(pl.len()) == 0
    gaps = [name for name in ("offer:price", "offer:country", "history:sold_lag_1_30d") if name in rows.columns]
    return rows.with_columns(pl.when(first).then(None).otherwise(pl.col(name)).alias(name) for name in gaps)


@pytest.mark.parametrize(
    "names", [("binary", "partitioned"), pytest.param(KINDS, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_version_of_each_kind_answers_in_mlflow_what_it_answers_here(kinds, names, tmp_path):
    asked = exported(kinds, tmp_path, names)
    for name, one, told in zip(names, asked, ask_mlflow(*asked), strict=True):
        check(told, answers_here(kinds.workspace, f"{name}@1", with_gaps(kinds.rows(name))))
        assert told["index"] == list(range(len(one["rows"])))
        assert told["flavors"] == ({} if name == "partitioned" else {"onnx": "ModelProto"})


@pytest.mark.slow
def test_what_mlflow_has_logged_and_is_exported_again_answers_there_as_before(tmp_path):
    """Boosters in their own formats, a graph with several classes, and one with a text among its inputs."""
    write_template(tmp_path / "ws", "empty")
    sources = {
        "churn": str(FOLDERS / "mlruns"),
        "fares": f"sqlite:///{database(tmp_path)}",
        "iris": str(FOLDERS / "iris"),
        "cities": str(FOLDERS / "cities"),
    }
    asked = []
    with Workspace(tmp_path / "ws") as workspace:
        for name, source in sources.items():
            version = str(workspace.models.import_mlflow(source, name))
            rows, _ = expected(name)
            renamed = [{f"inputs:{key}": value for key, value in row.items()} for row in rows]
            asked.append({"folder": workspace.models.export_mlflow(version, tmp_path / name), "rows": renamed})
    told = dict(zip(sources, ask_mlflow(*asked), strict=True))
    assert {name: list(one["flavors"]) for name, one in told.items()} == {
        "churn": ["xgboost"],
        "fares": ["lightgbm"],
        "iris": ["onnx"],
        "cities": ["onnx"],
    }
    for name, one in told.items():
        (answers,) = one["answers"].values()
        np.testing.assert_allclose(answers, expected(name)[1], rtol=1e-5, atol=2e-6)


def test_a_changed_byte_of_an_exported_file_is_found_when_it_is_opened(trained, tmp_path):
    folder = trained.models.export_mlflow("late@1", tmp_path / "late")
    path = folder / "model" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.onnx is not what was exported"):
        _load_pyfunc(str(folder))


def test_a_folder_with_something_in_it_is_left_as_it_is(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CarraraError, match="is not empty"):
        trained.models.export_mlflow("late@1", tmp_path)
    with pytest.raises(CarraraError, match="is not empty"):
        trained.models.export_mlflow("late@1", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["notes.txt"]


NETS = """

def bent(inputs, task):
    import torch

    class Bent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, task.outputs)

        def forward(self, tensors):
            numbers = tensors["numbers"] / 100
            return self.layer(numbers) + 0.1 * torch.special.bessel_j0(numbers[:, :1])

    return Bent()


program = model("program", "cheap", carrara.Torch(build=bent, epochs=1), "binary", features=NUMBERS)
prepared = model("prepared", "cheap", carrara.Torch(build=bent, epochs=1), "binary", features=NUMBERS,
    transforms=READY[:2])
saved = model("saved", "cheap", carrara.Keras(layers=(8,), epochs=1, export="saved_model"), "binary",
    features=NUMBERS, transforms=READY[:2])
"""


@pytest.mark.slow
def test_programs_of_torch_and_saved_models_answer_there_as_here_and_open_by_their_own_flavors(tmp_path):
    """Where transforms come before the program, its file is not the whole model, and there is no flavor of its own."""
    made = Kinds(tmp_path / "ws")
    definitions = made.workspace.root / "definitions.py"
    definitions.write_text(definitions.read_text() + NETS)
    flavors = {"program": {"pytorch"}, "prepared": set(), "saved": {"tensorflow"}}
    asked = exported(made, tmp_path, tuple(flavors))
    for name, told in zip(flavors, ask_mlflow(*asked), strict=True):
        check(told, answers_here(made.workspace, f"{name}@1", with_gaps(made.rows(name))))
        assert set(told["flavors"]) == flavors[name]
    made.workspace.close()
