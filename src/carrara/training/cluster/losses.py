"""Processes of a fit that were lost, and what follows: all go on from the last checkpoint, some without others, or it
ends."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass

from carrara.core.errors import TrainingError
from carrara.training.cluster.messages import MARK
from carrara.training.cluster.processes import Process
from carrara.training.cluster.team import Team

RESTARTS = 3
"""How often a fit is gone on with after a process was lost, by as many as before."""


@dataclass(frozen=True)
class Lost:
    """A process that is no longer there, and what became of it; `restarts` where another try may go better."""

    process: Process
    what: str
    restarts: bool

    @property
    def said(self) -> str:
        return f"{self.process.name} {self.what}"


@dataclass(frozen=True)
class NoRoom:
    """There is no place for all of a team, as is `said`, and fewer are enough."""

    said: str


class Losses:
    """Of one fit. A worker that is lost a second time is lost for good: the others go on, where they are enough."""

    def __init__(self, team: Team, restarts: int | None = None) -> None:
        self.team = team
        self._most, self._restarts = RESTARTS if restarts is None else restarts, 0
        self._times = Counter[str]()

    @property
    def restarts_left(self) -> int:
        return self._most - self._restarts

    def followed_by(self, lost: Lost | NoRoom) -> str:
        """What is done now, in words. TrainingError, with what the process said, where the fit ends."""
        if isinstance(lost, NoRoom) or self.gives_up(lost):
            self.give_up()
            workers = f"{self.team.workers} worker{'s' if self.team.workers > 1 else ''}"
            return f"{workers} go{'' if self.team.workers > 1 else 'es'} on from the last checkpoint without it"
        if not lost.restarts or not self.restarts_left:
            raise self._explained(lost)
        self.restart(lost)
        return "all go on from the last checkpoint"

    def gives_up(self, lost: Lost) -> bool:
        """Whether a process is lost for good, and the others are enough."""
        again = lost.process.job == "worker" and self._times[lost.process.name] > 0
        return lost.restarts and again and self.team.fewer() is not None

    def give_up(self) -> None:
        self.team = self.team.fewer() or self.team
        # Those that go on are numbered anew.
        self._times.clear()

    def restart(self, lost: Lost) -> None:
        self._restarts += 1
        self._times[lost.process.name] += 1

    def _explained(self, lost: Lost) -> TrainingError:
        said = "\n  ".join(line for line in lost.process.said[-5:] if MARK not in line) or "It said nothing."
        if lost.process.process.returncode == -signal.SIGKILL:
            said += "\nSomebody killed it, or the system for want of memory."
        after = f", after {self._restarts} restarts" if self._restarts else ""
        return TrainingError(f"{lost.said} in the middle of training{after}", hint=said)
