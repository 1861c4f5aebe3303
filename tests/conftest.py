"""A small workspace that many tests share: trained once a worker, copied by those that change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from real_stubs import RealStubs, real_stubs

from carrara.workspace.workspace import Workspace
from kinds_of_models import Kinds
from metadata_servers import METADATA_KINDS, new_database, postgresql
from online_servers import KINDS, empty, serving
from trips import write_workspace

# How long a draw takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Several processes test at once, and the threads of OpenMP spin while they wait for one another: with as many of them
# as cores in each process, fits take three times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a JVM runs for a minute is not worth being compiled twice, nor some hundred rows being shuffled in 200 parts.
os.environ.setdefault(
    "PYSPARK_SUBMIT_ARGS",
    "--conf spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 --conf spark.sql.shuffle.partitions=4 pyspark-shell",
)

collect_ignore = [
    "serving/real_stubs_process.py",  # runs in a process of its own
    "features/feast_repository/repository.py",  # for Feast to read
    "models/mlflow/asked_by_mlflow.py",  # runs in a process of its own
    "models/mlflow/logged_by_mlflow.py",  # and so do these
    "models/mlflow/read_by_mlflow.py",
]


@pytest.fixture(scope="session")
def _trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_workspace(tmp_path_factory.mktemp("trained") / "ws")
    with Workspace(folder) as workspace:
        workspace.apply()
        workspace.train("late")
        workspace.deploy("late@1")
        workspace.features.materialise(until=datetime(2024, 1, 20, tzinfo=UTC))
    return folder


@pytest.fixture
def trained(_trained_folder: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of one's own with `late@1` registered, deployed, and its features online."""
    folder = tmp_path / "trained"
    shutil.copytree(_trained_folder, folder)
    with Workspace(folder) as workspace:
        yield workspace


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinds]:
    """A small model of each kind, for tests that change none of them."""
    made = Kinds(tmp_path_factory.mktemp("kinds") / "ws")
    yield made
    made.workspace.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with files and definitions, in which nothing has been done yet."""
    with Workspace(write_workspace(tmp_path / "fresh", trips=600)) as workspace:
        yield workspace


@pytest.fixture(scope="session")
def stubs() -> Iterator[RealStubs]:
    """TensorFlow Serving's own client."""
    with real_stubs() as asking:
        yield asking


@pytest.fixture(scope="session", params=KINDS)
def online_server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Each kind of online store that is tested against the real thing, and where it runs."""
    with serving(request.param) as address:
        yield request.param, address


@pytest.fixture
def online_address(online_server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty online store of each kind."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    return empty(*online_server)


@pytest.fixture(scope="session")
def _postgresql() -> Iterator[str]:
    with postgresql() as address:
        yield address


@pytest.fixture(params=METADATA_KINDS)
def metadata_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty metadata store of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/m.db"
        return
    with new_database(request.getfixturevalue("_postgresql")) as url:
        yield url
