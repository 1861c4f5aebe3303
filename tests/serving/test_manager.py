"""The manager: a swap loses nothing, a bad version takes nothing, what is loaded keeps serving."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from doubling import Doubling

from carrara.core.errors import NotFoundError, UnavailableError
from carrara.serving.contract import Target
from carrara.serving.inference import Answer, Inference, Request
from carrara.serving.manager import AVAILABLE, END, ModelManager


def target(version: int) -> Target:
    return Target("doubling", "doubling", version)


def test_a_swap_under_load_loses_no_request_and_mixes_no_version():
    """P6 and P7."""
    wanted = [target(1)]
    loaded: list[Doubling] = []

    def load(one: Target) -> Doubling:
        loaded.append(Doubling(one.version))
        return loaded[-1]

    manager = ModelManager(lambda: list(wanted), load)
    manager.reconcile()
    inference, done = Inference(manager), threading.Event()

    def ask(_: int) -> list[str]:
        wrong = []
        while not done.is_set():
            inputs = {"x": np.ones(3, np.float32), "name": np.array(["n"] * 3, dtype=object)}
            (answer,) = inference.answer_all([Request("doubling", inputs)])
            if not isinstance(answer, Answer) or set(answer.outputs["doubled"]) != {2.0 * answer.version}:
                wrong.append(str(answer))
        return wrong

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(ask, number) for number in range(4)]
        for version in range(2, 40):
            wanted[0] = target(version)
            manager.reconcile()
        done.set()
        assert [wrong for result in results for wrong in result.result()] == []
    assert [one.closed for one in loaded] == [True] * 38 + [False]


def test_a_version_in_use_is_closed_only_after_its_last_request():
    hold = threading.Event()
    first, second = Doubling(1, hold), Doubling(2)
    wanted = [target(1)]
    manager = ModelManager(lambda: list(wanted), lambda one: first if one.version == 1 else second)
    manager.reconcile()
    inputs = {"x": np.ones(1, np.float32), "name": np.array(["n"], dtype=object)}
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(Inference(manager).answer_all, [Request("doubling", inputs)])
        assert first.entered.wait(20)
        wanted[0] = target(2)
        swap = pool.submit(manager.reconcile)
        while manager.status("doubling")[0].version != 2:
            pass
        assert not first.closed
        hold.set()
        assert slow.result()[0].version == 1
        swap.result()
    assert first.closed


def test_a_version_that_does_not_load_takes_no_traffic_and_is_tried_once():
    tried = []

    def load(one: Target) -> Doubling:
        tried.append(one.version)
        if one.version == 2:
            raise OSError("its file is broken")
        return Doubling(one.version)

    wanted = [target(1)]
    manager = ModelManager(lambda: list(wanted), load)
    manager.reconcile()
    wanted[0] = target(2)
    manager.reconcile()
    manager.reconcile()
    assert tried == [1, 2]
    assert [(s.version, s.state) for s in manager.status("doubling")] == [(1, AVAILABLE), (2, END)]
    with manager.acquire("doubling") as predictor:
        assert predictor.version == 1


def test_an_endpoint_whose_only_version_failed_says_why():
    def load(one: Target) -> Doubling:
        raise OSError("its file is broken")

    manager = ModelManager(lambda: [target(1)], load)
    manager.reconcile()
    with pytest.raises(UnavailableError, match="its file is broken"), manager.acquire("doubling"):
        pass


def test_what_is_loaded_keeps_serving_when_the_metadata_store_is_away():
    away = threading.Event()

    def desired() -> list[Target]:
        if away.is_set():
            raise OSError("the store is away")
        return [target(1)]

    manager = ModelManager(desired, lambda one: Doubling(one.version))
    manager.reconcile()
    away.set()
    manager.reconcile()
    with manager.acquire("doubling") as predictor:
        assert predictor.version == 1


def test_an_endpoint_that_is_no_longer_deployed_is_unloaded():
    wanted, predictor = [target(1)], Doubling(1)
    manager = ModelManager(lambda: list(wanted), lambda one: predictor)
    manager.reconcile()
    wanted.clear()
    manager.reconcile()
    assert predictor.closed
    with pytest.raises(NotFoundError), manager.acquire("doubling"):
        pass
