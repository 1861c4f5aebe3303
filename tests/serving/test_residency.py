"""Many models in one server: loaded when they are asked, within a budget, and unloaded when nobody asks."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import numpy as np
import pytest
from doubling import Doubling

from carrara.core.errors import BeingLoaded, NotFoundError, UnavailableError
from carrara.serving.client import Client
from carrara.serving.client.base import Refused
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.manager import ModelManager
from carrara.serving.residency import Bounds, Residency, resident_bytes
from carrara.serving.server import ModelServer
from carrara.serving.slots import START, VersionStatus


class House:
    """Endpoints of one version each, of ten bytes; a clock of our own."""

    def __init__(self, count: int, **bounds) -> None:
        self.now, self.bytes, self.loads, self.gone = 0.0, 0, [], []
        self.told: list[tuple[str, str]] = []
        self.wanted = [Endpoint(f"m{n}", (Target(f"m{n}", f"m{n}", 1),), primary=1) for n in range(count)]
        residency = Residency(Bounds(**bounds), measure=lambda: self.bytes, clock=lambda: self.now)
        self.manager = ModelManager(
            lambda: self.wanted,
            self._load,
            residency=residency,
            poll_seconds=0.01,
            told=self._told,
        )
        self.manager.reconcile()

    def _load(self, target: Target) -> Doubling:
        self.bytes += 10
        self.loads.append(target.endpoint)
        return Doubling()

    def _told(self, endpoint: Endpoint, what: str, why: str) -> None:
        self.told.append((endpoint.name, what))
        if what == "unloaded":
            self.gone.append((endpoint.name, why))

    def ask(self, name: str) -> None:
        self.now += 1
        with self.manager.acquire(Choice(name)):
            pass

    def loaded(self) -> set[str]:
        return set(self.manager._loaded.routes)


def test_a_version_takes_more_than_its_files_and_all_versions_of_an_endpoint_count():
    residency = Residency(Bounds(memory_bytes=5_000), measure=lambda: 0)
    one, two = Target("a", "a", 1), Target("a", "a", 2)
    with residency.weighed(one, lambda: 1_000):
        pass
    alone, both = Endpoint("a", (one,)), Endpoint("a", (one, two))
    assert (residency._size(alone), residency._size(both)) == (1_200, 2_400)
    with residency.weighed(two, lambda: 3_000):
        pass
    assert residency._size(both) == 4_800
    assert [one.name for one in residency.choose([both, Endpoint("b", (Target("b", "b", 1),))]).kept] == ["a"]


def test_what_a_library_takes_that_a_load_imports_is_not_the_versions_own(monkeypatch):
    taken = [0]
    residency = Residency(Bounds(memory_bytes=5_000), measure=lambda: taken[0])
    first, second = Target("a", "a", 1), Target("b", "b", 1)
    with residency.weighed(first, lambda: 100):
        taken[0] += 1_000_000
        monkeypatch.setitem(sys.modules, "a_library_of_this_test", sys)
    with residency.weighed(second, lambda: 100):
        taken[0] += 500
    assert (residency._bytes[first], residency._bytes[second]) == (120, 500)


def test_without_a_bound_everything_is_loaded():
    house = House(300)
    assert len(house.loaded()) == 300


def test_within_a_budget_the_rest_is_loaded_when_it_is_asked_and_what_was_asked_longest_ago_goes():
    house = House(100, memory_bytes=30)
    assert house.loaded() == {"m0", "m1", "m2"}
    assert len(house.manager.endpoints()) == 100
    for name in ("m0", "m2"):
        house.ask(name)
    with pytest.raises(UnavailableError, match="'m50' is being loaded"):
        house.ask("m50")
    house.manager.reconcile()
    house.ask("m50")
    assert house.loaded() == {"m0", "m2", "m50"}
    assert [name for name, _ in house.gone] == ["m1"]
    assert "memory" in house.gone[0][1]


def test_who_asks_for_what_has_to_go_while_its_successor_is_loaded_waits_as_well():
    asked = []

    class Asks(House):
        def _load(self, target: Target) -> Doubling:
            if self.gone:
                with pytest.raises(BeingLoaded):
                    self.ask("m0")
                asked.append(self.manager.is_cold("m0"))
            return super()._load(target)

    house = Asks(2, memory_bytes=10)
    with pytest.raises(BeingLoaded):
        house.ask("m1")
    house.manager.reconcile()
    assert (house.loaded(), asked) == ({"m1"}, [True])


def test_what_nobody_asks_is_unloaded_and_comes_back_when_it_is_asked():
    house = House(3, idle_seconds=60)
    house.now += 50
    house.ask("m1")
    house.now += 30
    house.manager.reconcile()
    assert house.loaded() == {"m1"}
    assert sorted(name for name, _ in house.gone) == ["m0", "m2"]
    with pytest.raises(UnavailableError):
        house.ask("m2")
    house.manager.reconcile()
    house.ask("m2")
    assert house.loads.count("m2") == 2


def test_who_is_not_asked_is_warned_of_before_it_is_unloaded_and_once():
    house = House(2, idle_seconds=60)
    for _ in range(4):
        house.now += 10
        house.manager.reconcile()
    assert house.told == [("m0", "idle"), ("m1", "idle")]
    house.ask("m1")
    house.now += 25
    house.manager.reconcile()
    assert house.told[2:] == [("m0", "unloaded")]


def test_what_is_retired_is_refused_until_it_is_loaded_again_or_deployed_anew():
    house = House(2, retire_seconds=60)
    house.now += 50
    house.ask("m1")
    house.now += 20
    house.manager.reconcile()
    assert house.loaded() == {"m1"}
    assert house.told[-1] == ("m0", "retired")
    with pytest.raises(NotFoundError, match="It was unloaded"):
        house.ask("m0")
    house.manager.reconcile()
    assert house.loads == ["m0", "m1"]
    with pytest.raises(BeingLoaded):
        house.manager.load("m0")
    house.manager.reconcile()
    house.manager.load("m0")
    house.ask("m0")
    house.now += 70
    house.manager.reconcile()
    house.wanted[0] = Endpoint("m0", (Target("m0", "m0", 2),), primary=2)
    house.manager.reconcile()
    assert house.loaded() == {"m0"}


def test_asking_wakes_a_server_that_watches():
    house = House(2, memory_bytes=10)
    house.manager._poll_seconds = 60
    house.manager._thread.start()
    try:
        until = time.monotonic() + 20
        while "m1" not in house.loaded():
            assert time.monotonic() < until
            try:
                house.ask("m1")
            except UnavailableError:
                time.sleep(0.01)
    finally:
        house.manager.stop()


@pytest.fixture
def crowded():
    """A server of 200 endpoints with memory for 20, each of which says its own number."""
    wanted = [Endpoint(f"m{n}", (Target(f"m{n}", f"m{n}", n + 1),), primary=n + 1) for n in range(200)]
    loaded: set[str] = set()
    most = [0]

    class Numbered(Doubling):
        def close(self) -> None:
            loaded.discard(f"m{self.version - 1}")
            super().close()

    def load(target: Target) -> Numbered:
        loaded.add(target.endpoint)
        most[0] = max(most[0], len(loaded))
        made = Numbered(target.version)
        made.file_bytes = 1_000
        return made

    residency = Residency(Bounds(memory_bytes=20 * 1_200), measure=lambda: 0)
    server = ModelServer(ModelManager(lambda: wanted, load, residency=residency), grpc_port=0, rest_port=0)
    server.start()
    yield server, most
    server.stop(5)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_two_hundred_models_in_the_memory_of_twenty_lose_no_request(crowded, scheme):
    """Each client waits until what it asks is there, and is answered by that; none asks again."""
    server, most = crowded
    port = server.grpc_port if scheme == "grpc" else server.rest_port

    def keep_asking(seed: int) -> list[str]:
        wrong = []
        with Client(f"{scheme}://127.0.0.1:{port}", timeout=20, retries=0) as client:
            for number in np.random.default_rng(seed).integers(0, 200, 40).tolist():
                try:
                    found = client.predict(f"m{number}", {"x": np.ones(1, np.float32), "name": np.array(["a"], object)})
                    wrong += [f"{number}: {found}"] if found.outputs["doubled"][0] != 2 * (number + 1) else []
                except Exception as error:
                    wrong.append(f"{number}: {error!r}")
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert [one for wrong in pool.map(keep_asking, range(8)) for one in wrong] == []
    assert most[0] == 20
    assert "UNAVAILABLE" not in server.inference.metrics.exposition()


def test_who_asks_what_is_never_loaded_is_told_why_and_others_are_answered(crowded):
    server, _ = crowded
    with Client(f"grpc://127.0.0.1:{server.grpc_port}", timeout=20, retries=0) as client:
        with pytest.raises(Refused, match="nothing"):
            client.predict("nothing", {"x": np.ones(1, np.float32), "name": np.array(["a"], object)})
        assert client.predict("m199", {"x": np.ones(1, np.float32), "name": np.array(["a"], object)}).version == 200


def test_to_be_asked_whether_it_is_ready_loads_nothing(crowded):
    server, _ = crowded
    before = dict(server.manager._loaded.routes)
    assert server.manager.status(Choice("m150")) == [VersionStatus(151, START)]
    with pytest.raises(NotFoundError):
        server.manager.status(Choice("m150", version=7))
    with urlopen(f"http://127.0.0.1:{server.rest_port}/v2/models/m150/ready", timeout=20) as reply:
        assert reply.status == 200
    server.manager.reconcile()
    assert server.manager._loaded.routes.keys() == before.keys()


def test_the_memory_of_this_process_is_known():
    assert resident_bytes() > 10 << 20
