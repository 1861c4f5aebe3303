"""Load on a server, and what it answers: in a closed loop, or at a rate.

In a closed loop each of `connections` asks again when it was answered. At a rate requests are due at moments that are
drawn beforehand (a Poisson process), and a latency counts from the moment at which a request was due: a server that
stalls cannot hide the requests that wait for it.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from carrara.core.errors import CarraraError

_SHARES = (50, 90, 95, 99, 99.9)
_MOST_LATE = 100_000


@dataclass(frozen=True)
class Measured:
    """What a load came to; latencies in milliseconds, of requests that were answered."""

    endpoint: str
    loop: str
    connections: int
    rate: float | None
    seconds: float
    answered: int
    rows: int
    failed: dict[str, int]
    per_second: float
    latency_ms: dict[str, float]
    versions: dict[str, int]


@dataclass
class _Tally:
    latencies: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Tally) -> None:
        self.latencies += other.latencies
        self.failed += other.failed
        self.versions += other.versions


Ask = Callable[[int], int]
"""Asks the request of a number, and returns the version that answered."""


def measure(
    endpoint: str, ask: Ask, *, connections: int, seconds: float, rate: float | None = None, rows: int = 1
) -> Measured:
    """Ask for `seconds`, in a closed loop or at `rate` requests a second."""
    began = time.perf_counter()
    until = began + seconds
    due: queue.Queue[float] | None = None
    if rate is not None:
        due = queue.Queue(_MOST_LATE)
        threading.Thread(target=_schedule, args=(due, rate, began, until, connections), daemon=True).start()
    tallies = [_Tally() for _ in range(connections)]
    threads = [
        threading.Thread(target=_work, args=(ask, tally, number, connections, until, due), daemon=True)
        for number, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, total = time.perf_counter() - began, _Tally()
    for tally in tallies:
        total.add(tally)
    return Measured(
        endpoint=endpoint,
        loop="closed" if rate is None else "open",
        connections=connections,
        rate=rate,
        seconds=round(took, 3),
        answered=len(total.latencies),
        rows=len(total.latencies) * rows,
        failed=dict(total.failed),
        per_second=round(len(total.latencies) / took, 1),
        latency_ms=_percentiles(total.latencies),
        versions=dict(sorted(total.versions.items())),
    )


def _schedule(due: queue.Queue[float], rate: float, began: float, until: float, connections: int) -> None:
    moment = began
    while (moment := moment + random.expovariate(rate)) < until:
        wait = moment - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        due.put(moment)
    for _ in range(connections):
        due.put(float("inf"))


def _work(ask: Ask, tally: _Tally, first: int, step: int, until: float, due: queue.Queue[float] | None) -> None:
    number = first
    while True:
        began = time.perf_counter() if due is None else due.get()
        if began >= until:
            return
        try:
            tally.versions[str(ask(number))] += 1
            tally.latencies.append(time.perf_counter() - began)
        except CarraraError as error:
            tally.failed[str(getattr(error, "code", type(error).__name__))] += 1
        number += step


def _percentiles(latencies: Sequence[float]) -> dict[str, float]:
    if not latencies:
        return {}
    values: Any = np.array(latencies) * 1e3
    found = {f"p{share:g}": round(float(np.percentile(values, share)), 3) for share in _SHARES}
    return {**found, "max": round(float(values.max()), 3)}
