"""Shadows: versions that are asked what the primary was asked, off the hot path, and whose answers are only compared.

A bounded queue and one thread of low priority: a shadow that is too slow is not asked, and that is counted; no request
waits for one, and none ever sees its answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carrara.models.signature import ENTITIES_SIGNATURE, EVENT_TIME, PREDICTION_ID
from carrara.serving.contract import Choice, Prediction
from carrara.serving.manager import ModelManager
from carrara.serving.observed import Observed

Array = np.ndarray[Any, Any]

_MOST_WAITING = 1_000
_NICE = 10
_logger = logging.getLogger("carrara.serving")


@dataclass(frozen=True)
class _Question:
    endpoint: str
    version: int
    inputs: Mapping[str, Array]
    answered: Prediction


class Shadows:
    """Asks the shadows of every endpoint; what they answer goes to the log, under the ids of what was answered."""

    def __init__(self, manager: ModelManager, observed: Observed, log: Callable[..., None] | None = None) -> None:
        self._manager, self._observed, self._log = manager, observed, log
        self._waiting: queue.Queue[_Question | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._said = ""

    def ask(self, endpoint: str, versions: Sequence[int], inputs: Mapping[str, Array], answered: Prediction) -> None:
        """Ask each of `versions` in a moment; never waits."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadows", daemon=True)
                self._thread.start()
        for version in versions:
            try:
                self._waiting.put_nowait(_Question(endpoint, version, inputs, answered))
            except queue.Full:
                self._observed.dropped((endpoint, _model(answered), version))

    def close(self) -> None:
        """Ask what is waiting, and stop."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        # On Linux a thread has a priority of its own.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (question := self._waiting.get()) is not None:
            self._answer(question)

    def _answer(self, question: _Question) -> None:
        endpoint, answered = question.endpoint, question.answered
        key = (endpoint, _model(answered), question.version)
        try:
            with self._manager.acquire(Choice(endpoint, question.version)) as predictor:
                key = (endpoint, predictor.model, predictor.version)
                began = time.perf_counter()
                found = predictor.predict(_same_inputs(question), answered.signature_name)
                seconds = time.perf_counter() - began
        except Exception as error:
            self._observed.failed(key, refused=False)
            if str(error) != self._said:
                _logger.warning("the shadow %s@%s of %s failed: %s", key[1], key[2], endpoint, error)
            self._said = str(error)
            return
        self._observed.ran(key, seconds, found.outputs, 1)
        self._observed.compared(key, answered.outputs, found.outputs)
        if self._log is not None and answered.record is not None:
            record = answered.record
            same = {"ids": record.ids, "event_times": record.event_times, "queries": record.queries}
            self._log(replace(found.record, **same), endpoint=endpoint, arm="shadow", shadow=True, latency=seconds)


def _same_inputs(question: _Question) -> dict[str, Array]:
    """The inputs, with the ids and the times that the primary gave where the request had none."""
    inputs, record = dict(question.inputs), question.answered.record
    if question.answered.signature_name == ENTITIES_SIGNATURE and record is not None:
        inputs[PREDICTION_ID] = np.array(record.ids, dtype=object)
        inputs[EVENT_TIME] = record.event_times.astype("datetime64[us]")
    return inputs


def _model(answered: Prediction) -> str:
    return answered.record.model if answered.record is not None else ""
