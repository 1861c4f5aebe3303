"""Rollouts end to end in one process: canaries promoted or stopped, new primaries that are taken back, shadows.

The model versions, the stores, the log and the servers' parts are real; only faults and the clock's hands are ours.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.core.clock import now, parse_time
from carrara.core.errors import CheckFailed, NotFoundError, StorageError
from carrara.monitoring.prediction_log import PredictionLog, scan_log
from carrara.serving.contract import Choice, Prediction, Predictor
from carrara.serving.deployed import Deployed
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.observed import Observed
from carrara.serving.requests import Answer, Request
from carrara.serving.rollouts import Rollouts
from carrara.storage.stores import Stores
from carrara.workspace.workspace import Workspace

AT = np.datetime64("2024-01-20T00:00:00", "us")
Fault = Callable[[Prediction], Prediction]


class Faulty:
    """A version of which every answer passes through a fault."""

    def __init__(self, predictor: Predictor, fault: Fault) -> None:
        self._predictor, self._fault = predictor, fault
        self.model, self.version, self.signatures = predictor.model, predictor.version, predictor.signatures

    def __getattr__(self, name: str):
        return getattr(self._predictor, name)

    def predict(self, inputs, signature_name="") -> Prediction:
        return self._fault(self._predictor.predict(inputs, signature_name))


def crash(prediction: Prediction) -> Prediction:
    raise ZeroDivisionError("a bug")


def not_a_number(prediction: Prediction) -> Prediction:
    return prediction._replace(outputs={name: values * np.nan for name, values in prediction.outputs.items()})


def shift(prediction: Prediction) -> Prediction:
    return prediction._replace(outputs={name: values * 0.01 for name, values in prediction.outputs.items()})


def slow(prediction: Prediction) -> Prediction:
    time.sleep(0.03)
    return prediction


class Server:
    """The parts of one server process, asked without sockets."""

    def __init__(self, workspace: Workspace, stores: Stores | None = None) -> None:
        self.workspace, self.faults = workspace, {}
        self.ahead = timedelta(0)
        self.stores = stores = stores or replace(workspace.stores, clock=lambda: now() + self.ahead)
        # LMDB opens a folder once a process.
        vars(stores)["online"] = workspace.stores.online
        self.observed, self.log = Observed(), PredictionLog(stores, flush_seconds=0.05)
        self.deployed = Deployed(stores, Rollouts(stores, self.observed))
        self.manager = ModelManager(self.deployed.endpoints, self._load)
        self.inference = Inference(self.manager, self.log.append, self.observed)
        self.manager.reconcile()

    def _load(self, target) -> Predictor:
        predictor = self.deployed.load(target)
        fault = self.faults.get(target.version)
        return Faulty(predictor, fault) if fault else predictor

    def ask(self, count: int, first: int = 0) -> list[Answer]:
        """`count` requests, one by one, each of another driver."""
        answers = [self.inference.answer_all([request(f"d{first + n}")])[0] for n in range(count)]
        assert not [one for one in answers if isinstance(one, Exception)]
        return answers

    def goes_on(self, seconds: float = 5) -> None:
        """Let time go by, and the server look at what is deployed and how it does."""
        self.ahead += timedelta(seconds=seconds)
        self.manager.reconcile()
        self.manager.reconcile()

    def serves(self) -> list[tuple[str, int]]:
        return [(one.role, one.version) for one in self.workspace.endpoints.list()]

    def last_event(self) -> tuple[str, int, str]:
        event = self.workspace.endpoints.history("late")[-1]
        return event.kind, event.version, "; ".join(event.reasons)

    def close(self) -> None:
        self.inference.shadows.close()
        self.manager.stop()
        self.log.close()


def request(driver: str, **choice) -> Request:
    texts = {"driver": driver, "depot": "p0", "city": "c0"}
    inputs = {name: np.array([value], dtype=object) for name, value in texts.items()}
    inputs |= {"distance": np.array([len(driver) * 17.0 + int(driver[1:]) % 40]), "event_time": np.array([AT])}
    return Request(Choice("late", **choice), inputs)


@pytest.fixture(scope="module")
def _folder(_trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollouts") / "ws"
    shutil.copytree(_trained_folder, folder)
    text = (folder / "definitions.py").read_text()
    for changed in (text.replace("trees=40", "trees=35"), text.replace("trees=40", "trees=30")):
        (folder / "definitions.py").write_text(changed)
        with Workspace(folder) as workspace:
            workspace.train("late")
    return folder


@pytest.fixture
def workspace(_folder: Path, tmp_path: Path):
    """`late@1` deployed, `late@2` and `late@3` beside it."""
    shutil.copytree(_folder, tmp_path / "ws")
    with Workspace(tmp_path / "ws") as made:
        yield made


@pytest.fixture
def server(workspace):
    made = Server(workspace)
    yield made
    made.close()


def test_a_canary_gets_its_share_is_sticky_and_is_promoted_with_its_reasons(server):
    server.workspace.endpoints.canary("late@2", share=0.3, lasts="30m")
    server.goes_on()
    versions = Counter()
    for stretch in range(5):
        versions.update(one.version for one in server.ask(120, 1_000 * stretch))
        server.goes_on()
    assert abs(versions[2] / 600 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 600)
    again = [one.version for one in server.ask(50)]
    assert [one.version for one in server.ask(50)] == again
    assert set(again) == {1, 2}
    assert server.serves() == [("primary", 1), ("canary", 2)]
    server.goes_on(3600)
    assert server.serves() == [("primary", 2)]
    kind, version, reasons = server.last_event()
    assert (kind, version) == ("promoted", 2)
    assert "errors: 0 of" in reasons
    assert "outcomes are known" in reasons
    assert server.workspace.models.aliases("late") == {"champion": 2}
    assert {one.version for one in server.ask(20)} == {2}


@pytest.mark.parametrize(
    ("fault", "says"), [(crash, "errors"), (not_a_number, "not a number"), (slow, "latency"), (shift, "scores")]
)
def test_a_bad_canary_is_rolled_back_and_says_why(server, fault, says):
    server.faults[2] = fault
    server.workspace.endpoints.canary("late@2", share=0.5, lasts="30m")
    server.goes_on()
    for stretch in range(40):
        server.ask(60 if fault is not shift else 150, 1_000 * stretch)
        server.goes_on()
        if server.serves() == [("primary", 1)]:
            break
    kind, version, reasons = server.last_event()
    assert (kind, version) == ("rolled back", 2)
    assert reasons.startswith(says)
    assert {one.version for one in server.ask(20)} == {1}


def test_what_a_canary_cannot_answer_the_primary_does(server):
    server.faults[2] = crash
    server.workspace.endpoints.canary("late@2", share=0.5, lasts="30m")
    server.goes_on()
    assert {one.version for one in server.ask(100)} == {1}


def test_a_canary_that_answered_little_is_not_promoted_for_that(server):
    server.workspace.endpoints.canary("late@2", share=0.1, lasts="30m")
    server.goes_on()
    server.ask(20)
    server.goes_on(3600)
    assert server.serves() == [("primary", 1), ("canary", 2)]


@pytest.mark.parametrize(
    ("fault", "says"), [(crash, "errors"), (not_a_number, "not a number"), (slow, "latency"), (shift, "scores")]
)
def test_a_new_version_that_does_worse_gives_way_to_the_one_before(server, fault, says):
    """M45."""
    server.ask(700)
    server.goes_on(61)
    server.faults[2] = fault
    server.workspace.deploy("late@2")
    server.goes_on()
    for stretch in range(20):
        for n in range(100):
            server.inference.answer_all([request(f"d{1_000 * stretch + n}")])
        server.goes_on()
        if server.serves() == [("primary", 1)]:
            break
    kind, version, reasons = server.last_event()
    assert (kind, version) == ("rolled back", 2)
    assert says in reasons
    assert {one.version for one in server.ask(20)} == {1}
    assert server.workspace.models.aliases("late") == {"champion": 1}


def test_a_new_version_that_does_as_well_stays(server):
    server.ask(300)
    server.goes_on(61)
    server.workspace.deploy("late@2")
    for stretch in range(4):
        server.goes_on()
        server.ask(100, 1_000 * stretch)
    server.goes_on(7200)
    assert server.serves() == [("primary", 2)]


def test_a_shadow_answers_nobody_and_both_outputs_are_logged_under_one_id(server):
    """M41."""
    server.workspace.endpoints.shadow("late@3")
    server.goes_on()
    assert {one.version for one in server.ask(50)} == {1}
    server.inference.shadows.close()
    server.goes_on()
    primary, shadow = server.workspace.endpoints.show("late")
    assert (primary.requests, shadow.role, shadow.requests) == (50, "shadow", 50)
    assert 0 <= shadow.agreed < 1
    assert 0 < shadow.difference_p95 < 1
    server.log.close()
    rows = scan_log(server.workspace.stores, "late").select("prediction_id", "version", "shadow").collect()
    ids = {flag: set(part["prediction_id"]) for (flag,), part in rows.group_by("shadow")}
    assert ids[True] == ids[False]
    assert len(ids[True]) == 50
    assert server.workspace.predictions("late")["version"].unique().to_list() == [1]
    server.log = PredictionLog(server.workspace.stores)


def test_a_replay_reports_what_a_shadow_reports(server):
    """N5."""
    server.workspace.endpoints.shadow("late@3")
    server.goes_on()
    rows = pl.read_csv(server.workspace.root / "trips.csv").filter(pl.col("at") >= "2024-01-20").head(12)
    for row in rows.iter_rows(named=True):
        # What is online is as fresh as the request, as it is in a service.
        server.workspace.features.materialise(until=parse_time(row["at"]))
        inputs = {name: np.array([row[name]], dtype=object) for name in ("driver", "depot", "city")}
        inputs |= {"distance": np.array([row["distance"]])}
        inputs |= {"event_time": np.array([np.datetime64(row["at"].removesuffix("Z"), "us")])}
        assert not isinstance(server.inference.answer_all([Request(Choice("late"), inputs)])[0], Exception)
        server.inference.shadows.close()
    server.log.close()
    (shadow,) = server.workspace.endpoints.divergence("late", since="1h")
    replayed = server.workspace.endpoints.replay("late@3", since="1h")
    assert (shadow.rows, shadow.outcomes) == (replayed.rows, replayed.outcomes) == (12, 12)
    assert shadow.given_by == replayed.given_by == {"late@1": 12}
    assert replayed.difference == pytest.approx(shadow.difference, rel=1e-4)
    for name in ("log_loss", "brier"):
        for side in ("candidate", "given"):
            assert replayed.metrics[name][side]["value"] == pytest.approx(shadow.metrics[name][side]["value"], rel=1e-4)
    assert replayed.farthest[0]["prediction_id"] == shadow.farthest[0]["prediction_id"]
    assert replayed.agreed == shadow.agreed < 1
    server.log = PredictionLog(server.workspace.stores)


def test_a_shadow_that_fails_or_is_slow_changes_no_answer(server):
    server.faults[3] = crash
    server.workspace.endpoints.shadow("late@3")
    server.goes_on()
    assert {one.version for one in server.ask(30)} == {1}
    server.inference.shadows.close()
    server.goes_on()
    assert [one.failed for one in server.workspace.endpoints.show("late")] == [0, 30]


def test_what_is_tried_is_said_over_rest(server):
    """N12: a canary, its end, a shadow and a split, as a deployer's script asks for them."""
    from carrara.serving.management import Management
    from carrara.serving.server import ModelServer

    management, endpoints = Management(allowed=True), server.workspace.endpoints
    made = ModelServer(server.manager, grpc_port=0, rest_port=0, management=management, endpoints=endpoints)
    made._http.start()

    def tell(verb: str, **body) -> list[tuple[str, int]]:
        url = f"http://127.0.0.1:{made.rest_port}/v1/endpoints/late:{verb}"
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=20) as reply:
            assert reply.status == 200
        return server.serves()

    canary = tell("deploy", model="late@2", canary="10%", **{"for": "1h", "by": ["driver"]})
    assert canary == [("primary", 1), ("canary", 2)]
    assert server.workspace.endpoints.show("late")[1].share == 0.1
    assert tell("rollback", reason="it may wait") == [("primary", 1)]
    assert server.last_event() == ("rolled back", 2, "it may wait")
    assert tell("deploy", model="late@3", shadow=True) == [("primary", 1), ("shadow", 3)]
    assert tell("rollback") == [("primary", 1)]
    assert tell("deploy", model="late", split={"1": 50, "2": 50}) == [("primary", 1), ("split", 2)]
    made._http.stop(5)


def test_every_answer_is_of_the_one_version_that_it_names_while_versions_swap(server):
    """P6 under F37: each version's outputs are known beforehand, and every answer must be one of them, as it says."""
    for version in ("late@2", "late@3"):
        server.workspace.endpoints.shadow(version)
    server.manager.reconcile()
    drivers = [f"d{number}" for number in range(10)]
    truth = {
        (version, driver): float(outputs_of(server, driver, version)) for version in (1, 2, 3) for driver in drivers
    }
    stop, wrong = False, []

    def keep_asking(seed: int) -> int:
        random, asked = np.random.default_rng(seed), 0
        while not stop:
            chosen = [drivers[place] for place in random.integers(0, len(drivers), 4)]
            for driver, answer in zip(chosen, server.inference.answer_all([request(d) for d in chosen]), strict=True):
                asked += 1
                if isinstance(answer, Exception):
                    wrong.append(repr(answer))
                elif not math.isclose(answer.outputs["probability"][0], truth[answer.version, driver], rel_tol=1e-5):
                    wrong.append(f"{driver}: {answer}")
        return asked

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(keep_asking, seed) for seed in range(3)]
        for step in range(12):
            match step % 4:
                case 0:
                    server.workspace.deploy(f"late@{1 + step % 3}", watch=False)
                case 1:
                    server.workspace.endpoints.split("late", {"1": 1, "2": 1, "3": 2})
                case 2:
                    server.workspace.endpoints.roll_back("late")
                case 3:
                    current = server.serves()[0][1]
                    server.workspace.endpoints.canary(f"late@{1 + current % 3}", share=0.5, lasts="1h")
            server.manager.reconcile()
        stop = True
        assert sum(one.result() for one in asking) > 100
    assert wrong == []


@pytest.mark.slow
def test_a_deployer_that_is_killed_anywhere_leaves_one_primary_which_is_served(server):
    """F30: before each statement that it sends to the metadata store, and before each commit."""
    script = Path(__file__).with_name("killed_deployer.py")
    command = [sys.executable, str(script), str(server.workspace.root), "late@2"]
    deployer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    died = 0
    for line in deployer.stdout:
        killed = int(line.split()[1])
        server.manager.reconcile()
        ((role, version),) = server.serves()
        assert role == "primary"
        assert version in (1, 2)
        (answer,) = server.ask(1)
        assert answer.version == version
        died += bool(killed)
        deployer.stdin.write("on\n")
        deployer.stdin.flush()
    assert deployer.wait(60) == 0
    assert died >= 3
    assert server.serves() == [("primary", 2)]


def outputs_of(server: Server, driver: str, version: int) -> np.ndarray:
    (answer,) = server.inference.answer_all([request(driver, version=version)])
    return answer.outputs["probability"][0]


def test_a_version_that_is_asked_otherwise_is_refused_unless_forced(workspace):
    """M39."""
    path = workspace.root / "definitions.py"
    text = path.read_text().replace('"distance": "float64"', '"distance": "float64", "delay": "float64"')
    path.write_text(text.replace("def trip(distance, load)", "def trip(distance, delay, load)"))
    with Workspace(workspace.root) as other:
        made = str(other.train("late").version)
        for attempt in (other.deploy, other.endpoints.shadow):
            with pytest.raises(CheckFailed, match="its input 'delay'"):
                attempt(made)
        assert [one.address for one in other.endpoints.list()] == ["late@1"]
        other.deploy(made, force=True)
        assert [one.address for one in other.endpoints.list()] == [made]


def test_an_unknown_key_or_endpoint_is_named(workspace):
    with pytest.raises(NotFoundError, match="Did you mean 'driver'"):
        workspace.endpoints.canary("late@2", share=0.1, lasts="1h", by=["drivr"])
    with pytest.raises(NotFoundError, match="no endpoint 'lat'"):
        workspace.endpoints.shadow("late@2", "lat")


def test_while_the_metadata_store_is_away_what_was_served_is_served_also_after_a_restart(server, monkeypatch):
    """F38."""
    server.workspace.endpoints.canary("late@2", share=0.5, lasts="1h")
    server.goes_on()

    def away(*_, **__):
        raise StorageError("the metadata store does not answer")

    for name in ("begin", "read"):
        monkeypatch.setattr(server.workspace.stores.metadata, name, away)
    server.goes_on()
    assert {one.version for one in server.ask(40)} == {1, 2}
    second = Server(server.workspace, server.stores)
    assert {one.version for one in second.ask(40)} == {1, 2}
    monkeypatch.undo()
    second.close()


def test_before_anything_was_seen_five_of_a_hundred_may_fail():
    from carrara.serving.judgement import against_primary
    from carrara.serving.observed import Seen

    names = ("late@2", "late@1")
    assert against_primary(Seen(answered=97, failed=3), Seen(), names) == []
    assert against_primary(Seen(answered=60, failed=40), Seen(), names) != []
