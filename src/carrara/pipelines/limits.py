"""The limits of a fit, of time and of memory: how it ends at them, and what of memory it took."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from carrara.core.clock import duration, now
from carrara.core.errors import TrainingError
from carrara.core.memory import bytes_of, resident_bytes, watched
from carrara.metadata.run_metrics import LiveMetrics
from carrara.metadata.runs import fail_run
from carrara.metadata.store import Metadata
from carrara.training.model import Model

MEMORY = "memory (MB)"
"""The metric of a run that holds the most memory that its fit took."""

_AT_ONCE = 1.5
"""How many times its limit a fit may take between two rounds before its process is ended."""

_GROWN = 1.02


class Limits:
    """Of one fit, from now on. Memory is what this process and its children take beside what they held before."""

    def __init__(self, model: Model, metadata: Metadata, run_id: str) -> None:
        self._model, self._metadata, self._run_id = model, metadata, run_id
        self._deadline = now() + duration(model.time_limit) if model.time_limit is not None else None
        self._limit = bytes_of(model.memory_limit) if model.memory_limit is not None else None
        self._before, self._over, self._told = resident_bytes(), 0, 0.0
        self._live = LiveMetrics(metadata, run_id)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep them while a block runs. Raises TrainingError where there is no memory left."""
        try:
            with watched(self._seen):
                yield
        except MemoryError as error:
            raise self._none_left(error) from error
        except Exception as error:
            # As XGBoost and LightGBM tell it.
            if "bad_alloc" in str(error) or "bad allocation" in str(error):
                raise self._none_left(error) from error
            raise
        finally:
            self._live.flush()
        self._check_memory("it had ended")

    def checked(self, report: Callable[[int, float], None]) -> Callable[[int, float], None]:
        """`report`, which raises TrainingError after the round in which a limit is over."""

        def told(number: int, loss: float) -> None:
            report(number, loss)
            self._check_memory(f"{number:,} rounds")
            if self._deadline is not None and now() > self._deadline:
                raise TrainingError(
                    f"the fit of '{self._model.name}' took longer than its time limit of {self._model.time_limit}: "
                    f"{number:,} rounds",
                    hint="Nets and trees go on from here when they are trained again; or raise time_limit.",
                )

        return told

    def _check_memory(self, when: str) -> None:
        if self._over:
            raise TrainingError(f"{self._said(self._over)}, when {when}", hint="Raise memory_limit, or train on less.")

    def _said(self, taken: int) -> str:
        limit = self._model.memory_limit
        return f"the fit of '{self._model.name}' took {taken / 1e6:,.0f} MB, and its memory limit is {limit}"

    def _seen(self, held: int) -> None:
        taken = held - self._before
        if taken > self._told * _GROWN:
            self._told = float(taken)
            self._live.add(MEMORY, 0, taken / 1e6)
        if self._limit is None or taken <= self._limit:
            return
        self._over = max(self._over, taken)
        if taken > self._limit * _AT_ONCE:
            self._end(f"{self._said(taken)}; its process was ended in the middle of a round")

    def _end(self, said: str) -> None:
        """Nothing else ends what is deep in a library."""
        fail_run(self._metadata, self._run_id, said)
        print(f"error: {said}\n  Raise memory_limit, or train on less.", file=sys.stderr, flush=True)
        os._exit(137)

    def _none_left(self, error: BaseException) -> TrainingError:
        said = str(error).strip().partition("\n")[0]
        return TrainingError(
            f"there was no memory left for the fit of '{self._model.name}': {said}",
            hint="Train on less, on another machine, or by a trainer that reads its rows from files (XGBoost, nets).",
        )
