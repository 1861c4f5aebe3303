"""What a run measures while it runs: a loss after each round, for whoever watches."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median

from sqlalchemy import insert, select

from carrara.core.clock import microseconds, now
from carrara.core.drawings import curves
from carrara.core.html import card, note, table
from carrara.core.svg import lines
from carrara.metadata.store import Metadata
from carrara.metadata.tables import run_metrics

_SECONDS = 1.0
_MOST_LETTERS = 100


class LiveMetrics:
    """Takes values as they come, and writes those of a second together."""

    def __init__(self, metadata: Metadata, run_id: str) -> None:
        self._metadata, self._run_id = metadata, run_id
        self._waiting: dict[str, dict[int, float]] = {}
        self._written = time.monotonic() - _SECONDS

    def add(self, name: str, step: int, value: float) -> None:
        """Take a value; what is no number is no point of a line."""
        if not math.isnan(value):
            self._waiting.setdefault(name[:_MOST_LETTERS], {})[step] = value
        if time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; a step that was measured before, by a run that went on, keeps its last value."""
        if not self._waiting:
            return
        at, ours = microseconds(now()), run_metrics.c.run_id == self._run_id
        with self._metadata.begin() as connection:
            for name, values in self._waiting.items():
                these = (run_metrics.c.name == name) & run_metrics.c.step.in_(list(values))
                connection.execute(run_metrics.delete().where(ours & these))
                key = {"run_id": self._run_id, "name": name, "at": at}
                rows = [{**key, "step": step, "value": value} for step, value in values.items()]
                connection.execute(insert(run_metrics), rows)
        self._waiting, self._written = {}, time.monotonic()


@dataclass(frozen=True)
class Slowest:
    """The process of a fit for which the others wait: how much it works, in a `unit`, and how many `times` the median
    of the others that is."""

    process: str
    works: float
    unit: str
    times: float

    def __str__(self) -> str:
        return f"{self.process} is the slowest: {self.works:.3g} {self.unit}, {self.times:.2f} times the others"


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

    def slowest(self) -> Slowest | None:
        """The worker that works the longest for a step, without what it waits for others; where they cannot see that,
        the one that has used its processor the most. None where there is one alone."""
        workers = sorted({name.rpartition(" ")[0] for name in self if name.startswith("worker:")})
        if all(f"{one} wait_ms" in self for one in workers):
            unit = "ms a step"
            works = {one: self._typical(f"{one} step_ms") - self._typical(f"{one} wait_ms") for one in workers}
        else:
            unit = "s of a processor"
            works = {one: sum(value for _, value in self.get(f"{one} cpu_s", [])) for one in workers}
        if len(works) < 2 or not any(works.values()):
            return None
        name = max(works, key=lambda one: works[one])
        others = median(value for one, value in works.items() if one != name)
        return Slowest(name, works[name], unit, works[name] / max(others, 1e-9))

    def _typical(self, name: str) -> float:
        """Of all rounds: the first one takes long on every process, and not as long on each."""
        return median(value for _, value in self[name])

    def _repr_html_(self) -> str:
        drawn = [curves(some, height=160, said=", ".join(some)) for some in self.together()]
        pictures = [lines(one, alone=True) for one in drawn if one is not None]
        last = [(name, points[-1][0], points[-1][1]) for name, points in self.items()]
        held = table(["metric", "round", "last"], last) if last else note("Nothing yet.")
        slowest = [note(str(one))] if (one := self.slowest()) is not None else []
        return card("What a run measures", *slowest, *pictures, held)


def read_metrics(metadata: Metadata, run_id: str) -> RunMetrics:
    """What a run has measured, by name: (step, value), in order."""
    query = select(run_metrics).where(run_metrics.c.run_id == run_id).order_by(run_metrics.c.name, run_metrics.c.step)
    found = RunMetrics()
    with metadata.begin() as connection:
        for row in connection.execute(query).mappings():
            found.setdefault(row["name"], []).append((row["step"], row["value"]))
    return found
