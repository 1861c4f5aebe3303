"""Versions swap under clients of both protocols, and a checker reads the history of their answers (P6, P7)."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.serving.client import Client
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer


@dataclass(frozen=True)
class Answered:
    """One request: when it began and ended, the value that it asked with, and what it was answered."""

    began: float
    ended: float
    value: float
    version: int = 0
    doubled: float = 0.0
    error: str = ""


def violations(history: list[Answered], deployed: dict[int, float]) -> list[str]:
    """What a history holds that may not be.

    Every request is answered (P7); an answer is wholly of the version that it names (P6); that version was deployed
    before the answer; and who asks after another was answered never meets an older version.
    """
    found = [f"{one.value} failed: {one.error}" for one in history if one.error]
    right = [one for one in history if not one.error]
    found += [f"{one} is not of version {one.version}" for one in right if one.doubled != 2 * one.version * one.value]
    found += [f"{one} is of the future" for one in right if one.ended < deployed[one.version]]
    by_end = sorted(right, key=lambda one: one.ended)
    newest, place = 0, 0
    for one in sorted(right, key=lambda one: one.began):
        while place < len(by_end) and by_end[place].ended < one.began:
            newest = max(newest, by_end[place].version)
            place += 1
        if one.version < newest:
            found.append(f"{one} went back from {newest}")
    return found


def test_the_checker_finds_what_may_not_be():
    deployed = {1: 0.0, 2: 5.0}
    good = Answered(1, 2, 3.0, 1, 6.0)
    assert violations([good, Answered(5, 6, 3.0, 2, 12.0), Answered(4, 7, 3.0, 1, 6.0)], deployed) == []
    assert "failed" in violations([good, Answered(1, 2, 3.0, error="gone")], deployed)[0]
    assert "is not of version 1" in violations([Answered(1, 2, 3.0, 1, 12.0)], deployed)[0]
    assert "of the future" in violations([Answered(1, 2, 3.0, 2, 12.0)], deployed)[0]
    assert "went back from 2" in violations([Answered(5, 6, 1.0, 2, 4.0), Answered(7, 8, 1.0, 1, 2.0)], deployed)[0]


@pytest.mark.parametrize("swaps", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_the_history_of_a_server_whose_versions_swap_holds_nothing_that_may_not_be(swaps):
    """P6 and P7 under F37, over sockets."""
    version, stop, answers = 1, threading.Event(), threading.Semaphore(0)
    deployed = {1: 0.0}
    manager = ModelManager(
        lambda: [endpoint(version)], lambda target: Doubling(target.version), poll_seconds=60, unload_first=False
    )
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    ports = {"grpc": server.grpc_port, "http": server.rest_port}

    def keep_asking(scheme: str, seed: int) -> list[Answered]:
        random, history = np.random.default_rng(seed), []
        with Client(f"{scheme}://127.0.0.1:{ports[scheme]}", timeout=20, retries=0) as client:
            while not stop.is_set():
                value, began = float(random.integers(1, 1_000)), time.monotonic()
                try:
                    found = client.predict("doubling", [{"x": value, "name": "a"}])
                    told = {"version": found.version or 0, "doubled": float(found.outputs["doubled"][0])}
                except Exception as error:
                    told = {"error": repr(error)}
                history.append(Answered(began, time.monotonic(), value, **told))
                answers.release()
        return history

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(keep_asking, scheme, seed) for seed in range(3) for scheme in ports]
        for _ in range(swaps):
            assert all(answers.acquire(timeout=20) for _ in range(12))
            deployed[version + 1] = time.monotonic()
            version += 1
            manager.reconcile()
        stop.set()
        history = [one for asked in asking for one in asked.result()]
    server.stop(5)
    assert violations(history, deployed) == []
    assert len({one.version for one in history}) > swaps // 2
