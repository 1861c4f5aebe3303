"""From an event loop to threads and back: what comes in one turn of the loop, or waits while a batch is answered, is
answered together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from carrara.serving.protocols.http import HttpRequest, Reply
from carrara.serving.transports.http1 import Exchange

Answerer = Callable[[Sequence[HttpRequest]], list[Reply]]

_MOST_TOGETHER = 256
_THREADS = 2
"""One batch is answered while another waits for its model; more threads would only make smaller batches."""

_LONGEST_PAUSE = 0.25
"""Between two looks whether what is asked is in memory, seconds."""


class Lane:
    """Answers what comes in an event loop, as many requests at a time as wait; `answer` never raises.

    Threads do that, and never the loop, however quick a model has been: one that hangs holds up no probe.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Answerer, name: str) -> None:
        self._loop, self._answer = loop, answer
        self._coming: list[Exchange] = []
        self._waiting: SimpleQueue[list[Exchange] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def ask(self, exchange: Exchange) -> None:
        """Settle it later on; called in the event loop."""
        # A thread that were woken for the first of a turn would take the interpreter from the loop, and with it one
        # request alone, while those of other connections are still to be read.
        self._coming.append(exchange)
        if len(self._coming) == 1:
            self._loop.call_soon(self._hand_over)

    def stop(self) -> None:
        """End the threads, once what waits is answered."""
        self._hand_over()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _hand_over(self) -> None:
        coming, self._coming = self._coming, []
        for start in range(0, len(coming), _MOST_TOGETHER):
            self._waiting.put(coming[start : start + _MOST_TOGETHER])

    def _work(self) -> None:
        # In a function of its own, so that a thread which waits does not hold what it has answered last.
        while self._answer_next():
            pass

    def _answer_next(self) -> bool:
        """Wait for a request and answer it with those beside it; whether to go on."""
        first = self._waiting.get()
        if first is None:
            return False
        batch, ended = self._with_others(first)
        # Whose client has gone is not asked any more.
        batch = [one for one in batch if not one.gone]
        replies = self._answer([one.request for one in batch])
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, batch, replies)
        return not ended

    def _with_others(self, batch: list[Exchange]) -> tuple[list[Exchange], bool]:
        """What waits beside the first, and whether the end came with it."""
        while len(batch) < _MOST_TOGETHER:
            try:
                others = self._waiting.get_nowait()
            except Empty:
                break
            if others is None:
                return batch, True
            batch += others
        return batch, False

    def _settle(self, batch: Sequence[Exchange], replies: Sequence[Reply]) -> None:
        """Settle each, but for those whose endpoint is on its way into memory: they are asked again in a while."""
        for exchange, reply in zip(batch, replies, strict=True):
            if reply.loading and not exchange.gone and time.monotonic() + exchange.pause < exchange.due:
                self._loop.call_later(exchange.pause, self.ask, exchange)
                exchange.pause = min(2 * exchange.pause, _LONGEST_PAUSE)
            else:
                exchange.settle(reply)
