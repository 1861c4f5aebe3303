"""An evaluator: a task that measures the states which others train, while they train on.

The chief sends a state and goes on; it asks for the losses an epoch later. Both are on one machine, or on nodes of one
cluster, and know a key; what passes between them are arrays and numbers, never a pickle.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import numpy as np

from carrara.core.errors import UnavailableError

ADDRESS, KEY = "CARRARA_EVALUATOR", "CARRARA_EVALUATOR_KEY"
"""The variables that tell the chief and the evaluator of each other."""

Losses = tuple[float, float]

_COMING_UP_SECONDS = 120.0
_PATIENCE_SECONDS = 600.0
"""How long one waits for the losses of a state."""

_SPINNING_SECONDS = 0.2


class Evaluator:
    """The evaluator, as the chief has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def of_environment(cls) -> Evaluator | None:
        """The one that the environment names, if any. UnavailableError for one that does not come up."""
        if ADDRESS not in os.environ:
            return None
        deadline = time.monotonic() + _COMING_UP_SECONDS
        while True:
            try:
                return cls(Client(_address(), authkey=_key()))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise UnavailableError(f"the evaluator at {os.environ[ADDRESS]} did not come up") from None
                time.sleep(_SPINNING_SECONDS)

    def ask(self, state: Sequence[np.ndarray[Any, Any]]) -> None:
        """Have a state measured; the one before has been answered."""
        buffer = io.BytesIO()
        np.savez(buffer, *state)
        self._connection.send_bytes(buffer.getvalue())

    def answer(self) -> Losses:
        """The losses of the train and the validation part. UnavailableError where the evaluator is gone."""
        try:
            if self._connection.poll(_PATIENCE_SECONDS):
                train, validation = json.loads(self._connection.recv_bytes())
                return float(train), float(validation)
        except (EOFError, OSError):
            pass
        raise UnavailableError(f"the evaluator at {os.environ[ADDRESS]} does not answer")


def measure_states(losses: Callable[[list[np.ndarray[Any, Any]]], Losses]) -> None:
    """Be the evaluator that the environment names, until the chief is gone."""
    with Listener(_address(), authkey=_key()) as listener, listener.accept() as chief:
        while True:
            try:
                sent = chief.recv_bytes()
            except (EOFError, OSError):
                return
            with np.load(io.BytesIO(sent), allow_pickle=False) as file:
                state = [file[f"arr_{number}"] for number in range(len(file.files))]
            chief.send_bytes(json.dumps(losses(state)).encode())


def _address() -> tuple[str, int]:
    host, _, port = os.environ[ADDRESS].rpartition(":")
    return host, int(port)


def _key() -> bytes:
    return os.environ[KEY].encode()
