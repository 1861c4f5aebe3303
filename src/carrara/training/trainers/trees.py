"""What trainers of trees share: the rounds of a fit, with their checkpoints; and rows on either side of every split, at
which a rounded threshold shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from carrara.core.errors import TrainingError
from carrara.training.trainers.base import Array, Task

_MOST = 10_000

CHECKPOINT_SECONDS = 10.0
"""How much of a fit is lost at most when it is killed, and a little more: a checkpoint is written after a round."""

_PACED_SECONDS = 1.0
"""How often it is told how long a tree takes."""


class Rounds:
    """The rounds of a fit, from the checkpoint on where there is one: `model` is what had been grown, as its library
    writes it, and `curve` the loss of each round by part."""

    def __init__(self, task: Task, trees: int, patience: int) -> None:
        self._task, self._trees, self._patience = task, trees, patience
        self._written = time.monotonic()
        self._paced: tuple[int, float] | None = None
        self.model: bytes | None = None
        self.curve: dict[str, list[float]] = {"train": [], "validation": []}
        if (saved := task.checkpoint.read()) is not None:
            read = msgspec.msgpack.decode(saved)
            self.model, self.curve = read["model"], read["curve"]
        self._begun = len(self.curve["validation"])

    def summary(self, sampled: bool) -> dict[str, int]:
        """What is told of the rounds. A library keeps no state of its samples: a fit that was gone on with takes others
        than one that was never killed."""
        told = {"trees_tried": len(self.curve["train"])}
        return {**told, "samples_anew_after": self._begun} if sampled and self._begun else told

    @property
    def left(self) -> int:
        """How many rounds there may be yet."""
        return 0 if self._has_stopped() else self._trees - len(self.curve["validation"])

    @property
    def best(self) -> int:
        """After how many rounds the validation loss was the lowest."""
        return int(np.argmin(self.curve["validation"])) + 1

    def ended(self, train: float, validation: float, model: Callable[[], bytes]) -> bool:
        """Take down a round, and say whether it is the last one. TrainingError for a loss that is no number."""
        self.curve["train"].append(float(train))
        self.curve["validation"].append(float(validation))
        number = len(self.curve["validation"])
        if not np.isfinite(validation):
            raise TrainingError(
                f"the loss is {validation} after {number:,} trees",
                hint="Take a smaller learning_rate, or clip the label.",
            )
        if time.monotonic() - self._written >= CHECKPOINT_SECONDS:
            self.keep(model())
        self._task.advance(number, self._trees)
        self._task.measured("train loss", number, float(train))
        self._task.report(number, float(validation))
        over = self._has_stopped()
        self._tell_pace(number, over or number == self._trees)
        return over

    def keep(self, model: bytes) -> None:
        """Write down what has been grown, to go on from it."""
        self._task.checkpoint.write(msgspec.msgpack.encode({"model": model, "curve": self.curve}))
        self._written = time.monotonic()

    def _tell_pace(self, number: int, over: bool) -> None:
        """How long a tree takes, from the first one on: before it the data are made ready."""
        now = time.perf_counter()
        if self._paced is None:
            self._paced = number, now
            return
        told, then = self._paced
        if over or now - then >= _PACED_SECONDS:
            self._task.paced(number, {"step_ms": 1_000 * (now - then) / (number - told)})
            self._paced = number, now

    def _has_stopped(self) -> bool:
        losses = self.curve["validation"]
        return bool(losses) and len(losses) - self.best >= self._patience


def float32_at_most(thresholds: Array) -> Array:
    """The largest float32 that is at most each threshold, a float64: of an x that is float32, x <= t asks the same."""
    near = np.asarray(thresholds, np.float64).astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def edge_rows(thresholds: Iterable[tuple[int, float]], rows: Array, *, missing: bool = False) -> Array:
    """A row of features for each (column, threshold): a real one, with that column at the float32 next to it, below, at
    and above in turn; with `missing` also one without each column, which shows where splits send what is not there."""
    found = sorted(set(thresholds))
    step = max(1, 3 * len(found) // _MOST)
    made = []
    for number, (column, threshold) in enumerate(found[::step]):
        at = np.float32(threshold)
        for value in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            row = rows[number % len(rows)].copy()
            row[column] = value
            made.append(row)
    for number, column in enumerate(sorted({column for column, _ in found}) if missing else ()):
        row = rows[number % len(rows)].copy()
        row[column] = np.nan
        made.append(row)
    return np.array(made, dtype=np.float32).reshape(len(made), rows.shape[1])
