"""Models that were trained elsewhere answer here what they answer there; what would run code is not opened."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import DataError
from carrara.models.learned.parameters import told_parameters
from carrara.models.mlflow.folder import read_folder
from carrara.models.mlflow.tracking import find_model
from carrara.models.runtimes.base import open_servable
from carrara.training.imports.read import read_model
from mlflow_models import FOLDERS, database, expected


def _folder(name: str, tmp_path: Path) -> Path:
    store = {"churn": lambda: str(FOLDERS / "mlruns"), "fares": lambda: str(database(tmp_path))}
    return find_model(store[name]()).folder if name in store else FOLDERS / name


def _answers(imported, rows, tmp_path: Path):
    folder = tmp_path / "servable"
    folder.mkdir()
    for name, data in imported.files.items():
        (folder / name).write_bytes(data)
    servable = open_servable(imported.format, folder, imported.signature)
    features = pl.DataFrame(rows).rename({field: f"inputs:{field}" for field in imported.fields})
    found = servable.run(imported.signature.tensors(features))
    assert set(found) == {imported.signature.outputs[0].name}
    return next(iter(found.values()))


@pytest.mark.parametrize(
    ("name", "flavor", "kind"),
    [
        ("churn", "xgboost", "binary"),  # stopped early: XGBClassifier predicts up to its best tree
        ("fares", "lightgbm", "regression"),
        ("iris", "onnx", "multiclass"),  # a ZipMap, and columns with spaces in their names
        ("cities", "onnx", "binary"),  # a text and a number, each an input
    ],
)
def test_an_imported_model_answers_what_mlflow_answers(name, flavor, kind, tmp_path):
    found, imported = read_model(read_folder(_folder(name, tmp_path)))
    rows, answers = expected(name)
    assert (found, imported.kind) == (flavor, kind)
    assert np.allclose(_answers(imported, rows, tmp_path), answers, rtol=0, atol=2e-6)
    assert sum(imported.importance.values()) == pytest.approx(1)


def test_the_classes_of_a_converted_classifier_keep_their_names():
    assert read_model(read_folder(FOLDERS / "iris"))[1].classes == ("setosa", "versicolor", "virginica")


def test_the_numbers_of_a_graph_are_read_by_their_names():
    told = told_parameters(read_model(read_folder(FOLDERS / "iris"))[1].learned)
    assert told["kind"] == "graph"
    (coefficients,) = (one for one in told["layers"] if one["layer"].endswith("coefficients"))
    assert coefficients["parameters"] == 4 * 3
    with pytest.raises(DataError, match="no graph of ONNX"):
        told_parameters({"model.onnx": pickle.dumps("a pickle")})


def test_weights_that_lie_beside_a_graph_are_taken_into_it(tmp_path):
    import onnx

    shutil.copytree(FOLDERS / "iris", tmp_path / "iris")
    path = tmp_path / "iris" / "model.onnx"
    model = onnx.load(str(path))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "shift"))
    (scores,) = (node.output[0] for node in model.graph.node if node.op_type == "ZipMap" for _ in (0,))
    (zipmap,) = (node for node in model.graph.node if node.op_type == "ZipMap")
    model.graph.node.append(onnx.helper.make_node("Add", [zipmap.input[0], "shift"], ["shifted"]))
    zipmap.input[0] = "shifted"
    place = list(model.graph.node).index(zipmap)
    model.graph.node.insert(place, model.graph.node.pop())
    onnx.save(model, str(path), save_as_external_data=True, location="weights.data", size_threshold=0)
    assert (tmp_path / "iris" / "weights.data").exists()
    imported = read_model(read_folder(tmp_path / "iris"))[1]
    rows, answers = expected("iris")
    assert scores
    assert np.allclose(_answers(imported, rows, tmp_path), answers, atol=2e-6)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    for flavor, conf in {
        "sklearn": {"pickled_model": "model.pkl"},
        "lightgbm": {"data": "model.pkl"},
        "xgboost": {"data": "model.pkl"},
        "pytorch": {"model_data": "model.pkl"},
        "python_function": {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl"},
    }.items():
        folder = tmp_path / flavor
        folder.mkdir()
        (folder / "model.pkl").write_bytes(pickle.dumps(Bomb()))
        (folder / "MLmodel").write_text(json.dumps({"flavors": {flavor: conf}}))
        with pytest.raises(DataError, match=r"pickl|safe to open"):
            read_model(read_folder(folder))
    assert not (tmp_path / "it ran").exists()
    with pytest.raises(DataError, match=r"sklearn.*unpickling"):
        read_model(read_folder(FOLDERS / "pickled"))


def test_a_signature_of_other_columns_than_the_model_has_is_told(tmp_path):
    folder = tmp_path / "churn"
    shutil.copytree(_folder("churn", tmp_path), folder)
    text = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(text.replace(', {"type": "double", "name": "income", "required": true}', ""))
    (folder / "MLmodel").write_text(
        json.dumps(
            {
                "flavors": {"xgboost": {"data": "model.ubj", "model_class": "xgboost.core.Booster"}},
                "signature": {"inputs": json.dumps([{"type": "double", "name": "age"}])},
            }
        )
    )
    with pytest.raises(DataError, match="1 columns, and it takes 2"):
        read_model(read_folder(folder))


def test_a_booster_by_itself_predicts_with_all_its_trees(tmp_path):
    folder = tmp_path / "churn"
    shutil.copytree(_folder("churn", tmp_path), folder)
    stopped = read_model(read_folder(folder))[1]
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": {"data": "model.ubj"}}}))
    whole = read_model(read_folder(folder))[1]
    assert stopped.summary["trees"] < whole.summary["trees"]
    assert list(whole.fields) == ["age", "income"]  # the booster's own names, where there is no signature
