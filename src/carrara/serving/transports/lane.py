"""From an event loop to threads and back: what waits while one batch is answered is the next batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_MOST_TOGETHER = 256
_THREADS = 2
"""One batch is answered while another waits for its model; more threads would only make smaller batches."""


class Lane(Generic[Asked, Answered]):
    """Hands what an event loop asks to threads, as many requests at a time as wait; `answer` never raises."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, answer: Callable[[Sequence[Asked]], list[Answered]], name: str
    ) -> None:
        self._loop, self._answer = loop, answer
        self._waiting: SimpleQueue[tuple[Asked, asyncio.Future[Answered]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def ask(self, asked: Asked) -> asyncio.Future[Answered]:
        """What will be the answer; called in the event loop."""
        future: asyncio.Future[Answered] = self._loop.create_future()
        self._waiting.put((asked, future))
        return future

    def stop(self) -> None:
        """End the threads, once what waits is answered."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, ended = self._with_others(first)
            # Whose client has gone is not asked any more.
            batch = [one for one in batch if not one[1].cancelled()]
            answers = self._answer([asked for asked, _ in batch])
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_settle, [future for _, future in batch], answers)
            if ended:
                return

    def _with_others(
        self, first: tuple[Asked, asyncio.Future[Answered]]
    ) -> tuple[list[tuple[Asked, asyncio.Future[Answered]]], bool]:
        """What waits beside the first, and whether the end came with it."""
        batch = [first]
        while len(batch) < _MOST_TOGETHER:
            try:
                one = self._waiting.get_nowait()
            except Empty:
                break
            if one is None:
                return batch, True
            batch.append(one)
        return batch, False


def _settle(futures: Sequence[asyncio.Future[Answered]], answers: Sequence[Answered]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            future.set_result(answer)
