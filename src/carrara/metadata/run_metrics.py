"""What a run measures while it runs: a loss after each round, for whoever watches."""

from __future__ import annotations

import time

from sqlalchemy import insert, select

from carrara.core.clock import microseconds, now
from carrara.core.drawings import curves
from carrara.core.html import card, note, table
from carrara.core.svg import lines
from carrara.metadata.store import Metadata
from carrara.metadata.tables import run_metrics

_SECONDS = 1.0


class LiveMetric:
    """Takes values as they come, and writes those of a second together."""

    def __init__(self, metadata: Metadata, run_id: str, name: str) -> None:
        self._metadata, self._run_id, self._name = metadata, run_id, name
        self._waiting: dict[int, float] = {}
        self._written = time.monotonic() - _SECONDS

    def add(self, step: int, value: float) -> None:
        self._waiting[step] = value
        if time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; a step that was measured before, by a run that went on, keeps its last value."""
        if not self._waiting:
            return
        key = {"run_id": self._run_id, "name": self._name, "at": microseconds(now())}
        rows = [{**key, "step": step, "value": value} for step, value in self._waiting.items()]
        these = (run_metrics.c.run_id == self._run_id) & (run_metrics.c.name == self._name)
        with self._metadata.begin() as connection:
            connection.execute(run_metrics.delete().where(these & run_metrics.c.step.in_(list(self._waiting))))
            connection.execute(insert(run_metrics), rows)
        self._waiting, self._written = {}, time.monotonic()


class RunMetrics(dict[str, list[tuple[int, float]]]):
    """What a run has measured, by name: (step, value), in order; a notebook draws it."""

    def together(self) -> list[RunMetrics]:
        """Those that one chart can hold, such as the loss of the training and of the validation rows; one that was
        measured once only is no line."""
        found: dict[str, RunMetrics] = {}
        for name, points in self.items():
            if len(points) > 1:
                found.setdefault(name.rpartition(" ")[2], RunMetrics())[name] = points
        return list(found.values())

    def _repr_html_(self) -> str:
        drawn = [curves(some, height=160, said=", ".join(some)) for some in self.together()]
        pictures = [lines(one, alone=True) for one in drawn if one is not None]
        last = [(name, points[-1][0], points[-1][1]) for name, points in self.items()]
        held = table(["metric", "round", "last"], last) if last else note("Nothing yet.")
        return card("What a run measures", *pictures, held)


def read_metrics(metadata: Metadata, run_id: str) -> RunMetrics:
    """What a run has measured, by name: (step, value), in order."""
    query = select(run_metrics).where(run_metrics.c.run_id == run_id).order_by(run_metrics.c.name, run_metrics.c.step)
    found = RunMetrics()
    with metadata.begin() as connection:
        for row in connection.execute(query).mappings():
            found.setdefault(row["name"], []).append((row["step"], row["value"]))
    return found
