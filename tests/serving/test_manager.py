"""The manager: versions side by side, swaps that lose nothing, bad versions that take nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from doubling import NEWEST, Doubling, endpoint

from carrara.core.errors import NotFoundError, RequestError, UnavailableError
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager, Threads
from carrara.serving.requests import Answer, Request
from carrara.serving.slots import AVAILABLE, END, LOADING, START, UNLOADING, Retry, VersionStatus

AGAIN_AT_ONCE = Retry(most=2, seconds=0)


class Shelf:
    """Versions that load, or fail while they are listed as broken; it remembers what was tried and made."""

    def __init__(self, *versions: int, hold: threading.Event | None = None, **labels: int) -> None:
        self.wanted, self.hold = [endpoint(*versions, **labels)], hold
        self.broken: set[int] = set()
        self.away = False
        self.on_load: Callable[[], object] = lambda: None
        self.tried: list[int] = []
        self.made: dict[int, Doubling] = {}

    def want(self, *versions: int, **labels: int) -> None:
        self.wanted = [endpoint(*versions, **labels)]

    def desired(self) -> list[Endpoint]:
        if self.away:
            raise OSError("the store is away")
        return self.wanted

    def load(self, target: Target) -> Doubling:
        self.tried.append(target.version)
        self.on_load()
        if target.version in self.broken:
            raise OSError("its file is broken")
        self.made[target.version] = Doubling(target.version, self.hold)
        return self.made[target.version]


def serving(shelf: Shelf, **more) -> ModelManager:
    manager = ModelManager(shelf.desired, shelf.load, **more)
    manager.reconcile()
    return manager


def answering(manager: ModelManager, **choice) -> int:
    with manager.acquire(Choice("doubling", **choice)) as predictor:
        return predictor.version


def states(manager: ModelManager) -> list[tuple[int, int]]:
    return [(one.version, one.state) for one in manager.status(NEWEST)]


def ask(manager: ModelManager) -> Answer | Exception:
    inputs = {"x": np.ones(3, np.float32), "name": np.array(["n"] * 3, dtype=object)}
    return Inference(manager).answer_all([Request(NEWEST, inputs)])[0]


def test_a_swap_under_load_loses_no_request_and_mixes_no_version():
    """P6 and P7."""
    shelf = Shelf(1)
    manager, done = serving(shelf), threading.Event()

    def keep_asking(_: int) -> list[str]:
        wrong = []
        while not done.is_set():
            answer = ask(manager)
            if not isinstance(answer, Answer) or set(answer.outputs["doubled"]) != {2.0 * answer.version}:
                wrong.append(str(answer))
        return wrong

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(keep_asking, number) for number in range(4)]
        for version in range(2, 40):
            shelf.want(version)
            manager.reconcile()
        done.set()
        assert [wrong for result in results for wrong in result.result()] == []
    assert [shelf.made[version].closed for version in range(1, 40)] == [True] * 38 + [False]


def test_a_version_in_use_is_closed_only_after_its_last_request():
    hold = threading.Event()
    shelf = Shelf(1, hold=hold)
    manager = serving(shelf)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(ask, manager)
        assert shelf.made[1].entered.wait(20)
        shelf.want(2)
        swap = pool.submit(manager.reconcile)
        while states(manager) != [(2, AVAILABLE), (1, UNLOADING)]:
            pass
        assert not shelf.made[1].closed
        hold.set()
        assert slow.result().version == 1
        swap.result()
    assert shelf.made[1].closed
    assert states(manager) == [(2, AVAILABLE), (1, END)]


def test_versions_live_side_by_side_and_the_newest_answers_by_default():
    shelf = Shelf(1, 3, stable=1, canary=3)
    manager = serving(shelf)
    assert [answering(manager), answering(manager, version=1), answering(manager, version=3)] == [3, 1, 3]
    assert [answering(manager, label="stable"), answering(manager, label="canary")] == [1, 3]
    with pytest.raises(NotFoundError, match="It serves version 1, 3"):
        answering(manager, version=2)
    with pytest.raises(RequestError, match="Did you mean 'stable'"):
        answering(manager, label="stabel")


def test_a_rollback_answers_by_the_older_version_once_it_is_loaded():
    shelf = Shelf(3)
    manager = serving(shelf)
    shelf.want(2)
    manager.reconcile()
    assert answering(manager) == 2
    assert shelf.made[3].closed


def test_a_label_moves_when_its_new_version_is_loaded_and_its_old_one_stays_until_then():
    shelf = Shelf(1, 2, stable=1)
    manager = serving(shelf, retry=AGAIN_AT_ONCE)
    shelf.broken = {3}
    shelf.want(2, 3, stable=3)
    manager.reconcile()
    assert answering(manager, label="stable") == 1
    shelf.broken = set()
    manager.reconcile()
    assert answering(manager, label="stable") == 3
    assert shelf.made[1].closed


def test_a_version_that_does_not_load_takes_no_traffic_and_is_tried_as_often_as_was_said():
    shelf = Shelf(1)
    shelf.broken = {2}
    manager = serving(shelf, retry=AGAIN_AT_ONCE)
    shelf.want(2)
    for expected in (LOADING, LOADING, END, END):
        manager.reconcile()
        failed, serves = manager.status(NEWEST)
        assert (failed.version, failed.state, failed.error) == (2, expected, "its file is broken")
        assert (serves.version, serves.state) == (1, AVAILABLE)
    assert shelf.tried == [1, 2, 2, 2]
    assert answering(manager) == 1


def test_a_version_that_failed_is_tried_anew_when_it_is_wanted_anew():
    shelf = Shelf(1)
    manager = serving(shelf, retry=Retry(most=0))
    shelf.broken = {2}
    for versions in ((2,), (1,)):
        shelf.want(*versions)
        manager.reconcile()
    assert states(manager) == [(1, AVAILABLE)]
    shelf.broken = set()
    shelf.want(2)
    manager.reconcile()
    assert answering(manager) == 2


def test_a_version_that_failed_is_not_tried_before_its_time():
    shelf = Shelf(1)
    shelf.broken = {1}
    manager = serving(shelf, retry=Retry(most=5, seconds=600))
    manager.reconcile()
    assert shelf.tried == [1]


def test_a_version_is_tried_again_after_the_interval_and_so_often_and_no_more():
    """F28: what --load_retry_interval_micros and --max_num_load_retries say."""
    now = [0.0]
    shelf = Shelf(1)
    shelf.broken = {1}
    manager = serving(shelf, retry=Retry(most=3, seconds=60), clock=lambda: now[0])
    tried_at = [0.0]
    while now[0] < 600:
        now[0] += 1
        manager.reconcile()
        tried_at += [now[0]] * (len(shelf.tried) - len(tried_at))
    assert tried_at == [0, 60, 120, 180]
    assert states(manager) == [(1, END)]


def test_with_threads_a_version_that_loads_for_long_holds_up_no_other_endpoint():
    hold, began = threading.Event(), threading.Event()
    other = Endpoint("other", (Target("other", "other", 1),))
    shelf = Shelf(1)
    shelf.wanted = [endpoint(1), other]

    def load(target: Target) -> Doubling:
        if (target.endpoint, target.version) == ("doubling", 2):
            began.set()
            assert hold.wait(20)
        return shelf.load(target)

    manager = ModelManager(shelf.desired, load, threads=Threads(loading=2))
    manager.reconcile()
    shelf.wanted = [endpoint(2), other]
    manager.reconcile(waits=False)
    assert began.wait(20)
    shelf.wanted = [endpoint(2), Endpoint("other", (Target("other", "other", 3),))]
    until = time.monotonic() + 20
    while VersionStatus(3, AVAILABLE) not in manager.status(Choice("other")):
        assert time.monotonic() < until
        manager.reconcile(waits=False)
    assert (states(manager)[0], answering(manager)) == ((2, LOADING), 1)
    hold.set()
    manager.reconcile()
    assert answering(manager) == 2
    manager.stop()


def test_with_threads_a_request_that_runs_for_long_holds_up_no_swap():
    hold = threading.Event()
    shelf = Shelf(1, hold=hold)
    manager = serving(shelf, threads=Threads(unloading=1))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, manager)
        assert shelf.made[1].entered.wait(20)
        for version in (2, 3):
            shelf.want(version)
            manager.reconcile()
        assert states(manager) == [(3, AVAILABLE), (2, UNLOADING), (1, UNLOADING)]
        hold.set()
        assert slow.result().version == 1
    manager.stop()
    assert all(one.closed for one in shelf.made.values())


def test_an_endpoint_whose_only_version_failed_says_why():
    shelf = Shelf(1)
    shelf.broken = {1}
    manager = serving(shelf)
    with pytest.raises(UnavailableError, match="its file is broken"):
        answering(manager)


def test_unloading_first_holds_one_version_at_a_time():
    shelf = Shelf(1)
    manager = serving(shelf, unload_first=True)
    seen = []

    def look() -> None:
        seen.append((shelf.made[1].closed, states(manager)))
        with pytest.raises(UnavailableError, match="not loaded yet"):
            answering(manager)

    shelf.on_load = look
    shelf.want(2)
    manager.reconcile()
    assert seen == [(True, [(2, LOADING), (1, END)])]
    assert answering(manager) == 2


def test_while_one_version_loads_the_others_wait_in_start():
    shelf = Shelf(1, 2)
    seen = []
    manager = ModelManager(shelf.desired, shelf.load)
    shelf.on_load = lambda: seen.append(states(manager))
    manager.reconcile()
    assert seen == [[(2, START), (1, LOADING)], [(2, LOADING), (1, AVAILABLE)]]


def test_only_the_last_versions_that_ended_are_remembered():
    shelf = Shelf(1)
    manager = serving(shelf)
    for version in range(2, 30):
        shelf.want(version)
        manager.reconcile()
    assert [version for version, _ in states(manager)] == list(range(29, 18, -1))


def test_what_is_loaded_keeps_serving_when_the_metadata_store_is_away():
    shelf = Shelf(1)
    manager = serving(shelf)
    shelf.away = True
    manager.reconcile()
    assert answering(manager) == 1


def test_an_endpoint_that_is_no_longer_deployed_is_unloaded():
    shelf = Shelf(1)
    manager = serving(shelf)
    shelf.wanted = []
    manager.reconcile()
    assert shelf.made[1].closed
    with pytest.raises(NotFoundError):
        answering(manager)
    assert states(manager) == [(1, END)]
