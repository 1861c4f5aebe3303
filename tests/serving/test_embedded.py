"""A model in the caller's own process: what a server answers, without one, and without Carrara's other libraries."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from servers import publish

import carrara
from carrara.core.errors import CarraraError, CorruptArtifact, NotFoundError, RequestError
from carrara.models.bundle import export_version
from carrara.models.registry import resolve
from carrara.serving.folder import VersionFolder
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer
from carrara.serving.version_sources import LocalVersions
from tiny_models import add_tiny, stores_at

ALONE = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {REFUSED}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refused())
import carrara

with carrara.load_model(sys.argv[1]) as model:
    print(model.predict({"x": [1.5, -2.0]})["doubled"].tolist())
"""
REFUSED = {
    *("alembic", "cronsim", "deltalake", "duckdb", "grpc", "httptools", "lmdb", "narwhals", "pandas", "polars"),
    *("prometheus_client", "pyarrow", "pygrpc_native", "rich", "sqlalchemy", "tomlkit", "typer", "uvloop"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    stores = stores_at(f"sqlite:///{folder}/m.db", folder)
    add_tiny(stores)
    yield export_version(stores, resolve(stores, "tiny"), folder / "tiny.carrara")
    stores.close()


def test_a_file_is_opened_where_nothing_but_numpy_and_its_runtime_is_installed(exported):
    script = ALONE.replace("{REFUSED}", repr(REFUSED))
    done = subprocess.run([sys.executable, "-c", script, exported], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[3.0, -4.0]\n"), done.stderr


def test_it_answers_what_a_server_of_the_same_file_answers(exported, tmp_path):
    (tmp_path / "served" / "1").mkdir(parents=True)
    (tmp_path / "served" / "1" / "model.carrara").write_bytes(exported.read_bytes())
    values = np.random.default_rng(7).normal(size=50).astype(np.float32)
    folder = VersionFolder("tiny", LocalVersions(tmp_path / "served", 0))
    server = ModelServer(ModelManager(lambda: [folder.endpoint()], folder.load), grpc_port=0, rest_port=0)
    server.start()
    with (
        carrara.Client(f"grpc://127.0.0.1:{server.grpc_port}") as client,
        carrara.load_model(exported) as model,
    ):
        wanted = client.predict("tiny", {"x": values}).outputs["doubled"]
        assert model.predict({"x": values})["doubled"].tobytes() == wanted.tobytes()
    server.stop(5)
    with pytest.raises(CarraraError, match="is closed"):
        model.predict({"x": values})


def test_a_folder_is_opened_at_its_newest_version(tmp_path):
    for version in (2, 10):
        publish(tmp_path, version)
    assert carrara.load_model(tmp_path).predict([{"x": 1.0}, {"x": 2.0}])["y"].tolist() == [10.0, 20.0]
    assert carrara.load_model(tmp_path / "2").predict({"x": [1.0]})["y"].tolist() == [2.0]


def test_what_is_wrong_is_named(exported, tmp_path):
    with carrara.load_model(exported) as model:
        with pytest.raises(RequestError, match="has no input 'y'"):
            model.predict({"y": [1.0]})
        with pytest.raises(NotFoundError, match="serving_default"):
            model.predict({"x": [1.0]}, signature_name="serving")
    with pytest.raises(NotFoundError, match="carrara model export"):
        carrara.load_model(tmp_path / "nothing")
    damaged = tmp_path / "damaged.carrara"
    data = bytearray(exported.read_bytes())
    data[data.index(b"servable/model.onnx") + 60] ^= 0xFF
    damaged.write_bytes(bytes(data))
    with pytest.raises(CorruptArtifact):
        carrara.load_model(damaged)
