"""An outbox: what requests leave behind, written or sent by a thread of its own, so that no request waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_logger = logging.getLogger("carrara.serving")

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """Takes items from any thread; every `seconds` a thread hands all that wait to `deliver`, which says how many of
    them are lost. At most `most` wait, and what comes beyond is lost too: `told` says how many, in the server's log.
    """

    def __init__(
        self, name: str, deliver: Callable[[list[Item]], int], *, most: int, seconds: float, told: str
    ) -> None:
        self._deliver, self._most, self._seconds, self._told = deliver, most, seconds, told
        self._waiting: deque[Item] = deque()
        self._lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Leave an item; never waits."""
        if len(self._waiting) >= self._most:
            self._lost += 1
        else:
            self._waiting.append(item)

    def flush(self) -> None:
        """Deliver what waits now."""
        if items := [self._waiting.popleft() for _ in range(len(self._waiting))]:
            self._lost += self._deliver(items)
        if self._lost:
            _logger.warning(self._told, self._lost)
            self._lost = 0

    def close(self) -> None:
        """Deliver what waits, and stop."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._seconds):
            self.flush()
        self.flush()
