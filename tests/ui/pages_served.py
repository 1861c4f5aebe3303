"""A web page that is really served, over a workspace with two versions, traffic, and names that mean harm."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from carrara.metadata.runs import run
from carrara.metadata.versions import add_version, get_version
from carrara.monitoring.prediction_log import PredictionLog
from carrara.serving.contract import Choice
from carrara.serving.deployed import Deployed
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.observed import Observed
from carrara.serving.requests import Request
from carrara.serving.rollouts import Rollouts
from carrara.ui.server import UiServer
from carrara.workspace.workspace import Workspace

HARM = "<img src=x onerror=document.title='broken'>/🙂 & \"quotes\".json"
LONG = "n" * 4_096


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Speaks HTTP to a page: with a token in a header, or as a browser with a cookie."""

    def __init__(self, server: UiServer, token: str = "", cookies: bool = False) -> None:
        self.server, self.token, self.jar = server, token, CookieJar()
        handlers = [_Stay(), *([urllib.request.HTTPCookieProcessor(self.jar)] if cookies else [])]
        self._opener = urllib.request.build_opener(*handlers)

    def __call__(
        self, path: str, form: dict[str, str] | None = None, method: str | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["authorization"] = f"Bearer {self.token}"
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(self.server.url + path, data, sent, method=method)
        try:
            with self._opener.open(request, timeout=30) as found:
                return Answer(found.status, found.read().decode(), dict(found.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), dict(error.headers))

    def html(self, path: str) -> Answer:
        return self(path, accept="text/html")


@pytest.fixture(scope="session")
def ui_folder(_trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`late@1` in production with predictions and outcomes, `late@2` beside it, and datasets of odd names."""
    folder = tmp_path_factory.mktemp("ui") / "ws"
    shutil.copytree(_trained_folder, folder)
    definitions = folder / "definitions.py"
    with Workspace(folder) as workspace:
        trips = pl.read_csv(folder / "trips.csv").tail(60)
        asked = [{**row, "event_time": row["at"]} for row in trips.to_dicts()]
        wanted = ("driver", "depot", "city", "distance", "event_time")
        workspace.predict("late@1", [{name: row[name] for name in wanted} for row in asked], log=True)
        workspace.monitoring.run("late")
        rows = pl.DataFrame({"a": [1, 2, 3], HARM: [f"<script>{n}</script>" for n in range(3)]})
        workspace.datasets.ingest_from("odd", rows)
        _under_other_names(workspace)
    definitions.write_text(definitions.read_text().replace("depth=3", "depth=2"))
    with Workspace(folder) as workspace:
        workspace.train("late")
    return folder


def _under_other_names(workspace: Workspace) -> None:
    """The dataset `odd`, and runs and a model, under names that no file can have but a record may."""
    metadata = workspace.stores.metadata
    odd, late = get_version(metadata, "dataset", "odd"), get_version(metadata, "model", "late")
    for name in (HARM, LONG, LONG):
        add_version(metadata, "dataset", name, digest=odd.digest, run_id=odd.run_id, record=odd.record)
    for name in (HARM, LONG):
        with run(metadata, "train", name, {name: name}) as run_id:
            add_version(metadata, "model", name, digest=late.digest, run_id=run_id, record=late.record, sources=[name])


def ask_a_server(workspace: Workspace, count: int) -> None:
    """Let the parts of a server answer `count` requests of `late`, each of another driver, and write that down."""
    stores, observed = workspace.stores, Observed()
    log, rollouts = PredictionLog(stores, flush_seconds=0.05), Rollouts(stores, observed)
    deployed = Deployed(stores, rollouts)
    manager = ModelManager(deployed.endpoints, deployed.load)
    inference = Inference(manager, log.append, observed)
    manager.reconcile()
    at = np.array([np.datetime64("2024-01-20T00:00:00", "us")])
    for number in range(count):
        texts = {"driver": f"d{number}", "depot": "p0", "city": "c0"}
        inputs = {name: np.array([value], dtype=object) for name, value in texts.items()}
        asked = Request(Choice("late"), {**inputs, "distance": np.array([17.0]), "event_time": at})
        answer = inference.answer_all([asked])[0]
        assert not isinstance(answer, Exception), answer
    rollouts.tick(workspace.deployments())
    rollouts.flush()
    inference.shadows.close()
    manager.stop()
    log.close()


@pytest.fixture(scope="session")
def served(ui_folder: Path) -> Iterator[UiServer]:
    """The page, for tests that only read."""
    with Workspace(ui_folder) as workspace:
        server = UiServer(workspace)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def own_page(ui_folder: Path, tmp_path: Path) -> Iterator[UiServer]:
    """A page over a workspace of one's own, for tests that change something."""
    shutil.copytree(ui_folder, tmp_path / "ws")
    with Workspace(tmp_path / "ws") as workspace:
        server = UiServer(workspace)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def tokens(served: UiServer) -> dict[str, str]:
    """A token of each role."""
    access = served.workspace.access
    return {role: access.create_token(f"a {role}", role)[1] for role in ("viewer", "editor", "deployer", "admin")}


@pytest.fixture(scope="session")
def viewer(served: UiServer, tokens: dict[str, str]) -> Client:
    return Client(served, tokens["viewer"])


def csrf_of(text: str) -> str:
    """The CSRF token of a page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None
    return found[1]
