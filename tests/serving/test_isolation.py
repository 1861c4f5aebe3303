"""Two models whose libraries cannot live together answer from one server (M47)."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import carrara
from carrara.serving.folder_predictor import Opening
from carrara.serving.folders import Folders
from carrara.serving.manager import ModelManager
from carrara.serving.model_config import ModelConfig
from carrara.serving.server import ModelServer

MODEL = """
import numpy as np
import ruler

class Model:
    inputs = {"x": ("float64", [None])}
    outputs = {"y": ("float64", [None])}

    def __init__(self, folder): ...

    def predict(self, x):
        return {"y": np.asarray(ruler.measured(x), float)}
"""
RULERS = {1: "def measured(x): return x * 1.0", 2: "def measured(values): return values * 2.54"}


def version_with(base: Path, number: int) -> None:
    """A version whose Python has a `ruler` of its own; NumPy is that of the tests."""
    folder = base / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(MODEL)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    packages = next((folder / ".venv" / "lib").iterdir()) / "site-packages"
    (packages / "ruler.py").write_text(RULERS[number])
    (packages / "numpy.pth").write_text(sysconfig.get_paths()["purelib"])


def test_models_with_libraries_of_their_own_answer_from_one_server(tmp_path):
    for number in RULERS:
        version_with(tmp_path / f"m{number}", number)
    models = [ModelConfig(f"m{number}", str(tmp_path / f"m{number}")) for number in RULERS]
    folders = Folders(models, 0, Opening(allow_code=True))
    server = ModelServer(ModelManager(folders.desired, folders.load), grpc_port=0, rest_port=0)
    server.start()
    with carrara.Client(f"grpc://127.0.0.1:{server.grpc_port}", timeout=20) as client:
        measured = [client.predict(f"m{number}", {"x": [2.0]}).outputs["y"].tolist() for number in RULERS]
    server.stop(5)
    assert measured == [[2.0], [5.08]]
