"""Many models in one server: loaded when they are asked, within a budget, and unloaded when nobody asks."""

from __future__ import annotations

import time

import pytest
from doubling import Doubling

from carrara.core.errors import UnavailableError
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.manager import ModelManager
from carrara.serving.residency import Bounds, Residency, resident_bytes


class House:
    """Endpoints of one version each, of ten bytes; a clock of our own."""

    def __init__(self, count: int, **bounds) -> None:
        self.now, self.bytes, self.loads, self.gone = 0.0, 0, [], []
        self.wanted = [Endpoint(f"m{n}", (Target(f"m{n}", f"m{n}", 1),), primary=1) for n in range(count)]
        residency = Residency(Bounds(**bounds), measure=lambda: self.bytes, clock=lambda: self.now)
        self.manager = ModelManager(
            lambda: self.wanted,
            self._load,
            residency=residency,
            poll_seconds=0.01,
            unloaded=lambda endpoint, why: self.gone.append((endpoint.name, why)),
        )
        self.manager.reconcile()

    def _load(self, target: Target) -> Doubling:
        self.bytes += 10
        self.loads.append(target.endpoint)
        return Doubling()

    def ask(self, name: str) -> None:
        self.now += 1
        with self.manager.acquire(Choice(name)):
            pass

    def loaded(self) -> set[str]:
        return set(self.manager._routes)


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


def test_the_memory_of_this_process_is_known():
    assert resident_bytes() > 10 << 20
