"""A fit by several processes, watched: one that is killed or stands still is told, and all go on from the checkpoint.

The processes train, and leave a checkpoint of a fit that is complete; what is made of it (the proof, the graph, the
importance) is made here, by the trainer, as it goes on from there alone. With parameter servers one process, the chief,
has the loop; a worker that is lost then is started again while the others go on.
"""

from __future__ import annotations

import queue
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import TrainingError, UnavailableError
from carrara.training.checkpoints import FileCheckpoint, Held
from carrara.training.cluster.evaluator import ADDRESS, KEY
from carrara.training.cluster.hosts import host_of
from carrara.training.cluster.losses import Losses, Lost, NoRoom
from carrara.training.cluster.messages import MARK, PEER_LOST
from carrara.training.cluster.processes import EVALUATOR, Process, Processes, task_variables
from carrara.training.cluster.profile import Profile, line
from carrara.training.cluster.reach import require_up
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.team import ALONE
from carrara.training.cluster.work import CHECKPOINT, write_work
from carrara.training.trainers.base import Part, Task

SILENT_SECONDS = 60.0
"""A process that has not said for so long that it is alive stands still."""

STUCK_SECONDS = 300.0
"""Processes of which none has told of a round or worked for so long wait for one another in vain."""

_WORKED_SECONDS = 2.0
"""Of a processor's time: who has used less has not worked, but said that it is alive."""

_ENDING_SECONDS = 30.0
"""How long the others may take to end when the fit is complete."""

_MOST_LOGGED = 2_000
"""How many lines of each process are written into the run's log."""

_SETTLING_SECONDS = 1.0
_SPINNING_SECONDS = 0.1


def fit_together(trainer: Any, train: Part, validation: Part, task: Task) -> Task:
    """Train by the task's processes, and return the task as one goes on with: its checkpoint is the end.

    Raises TrainingError, with the name of the process and what it said, where one fails by itself, or when processes
    were lost more often than RESTARTS times.
    """
    with tempfile.TemporaryDirectory(dir=task.folder, prefix="work-") as name:
        folder, losses = Path(name), Losses(task.team)
        write_work(folder, trainer, train, validation, task)
        while (lost := _Try(folder, replace(task, team=losses.team), losses).run()) is not None:
            task.tell(f"{lost.said}; {losses.followed_by(lost)}")
        done = Held(FileCheckpoint(folder / CHECKPOINT).read())
        return replace(task, team=ALONE, checkpoint=done, trained=True, computed=lambda device: None)


class _Try:
    """The processes of one try."""

    def __init__(self, folder: Path, task: Task, losses: Losses) -> None:
        self._folder, self._task, self._team, self._losses = folder, task, task.team, losses
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._heard: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._profile, self._round = Profile(), 0
        self._logged: Counter[str] = Counter()
        self._moved = time.monotonic()
        self._complete: float | None = None
        self._processes = Processes(self._hear)
        self._host = host_of(self._team.engine, folder, self._team.gpus)
        self._variables: dict[tuple[str, int], dict[str, str]] = {}

    def run(self) -> Lost | NoRoom | None:
        """Until all have ended, or one is lost or has no place, which is returned."""
        try:
            try:
                cluster, master = self._cluster()
            except UnavailableError as error:
                if self._team.fewer() is None:
                    raise
                return NoRoom(error.message)
            self._variables = task_variables(cluster, master)
            if self._team.evaluator:
                told = {ADDRESS: cluster.task_address(EVALUATOR, 0), KEY: secrets.token_hex(32)}
                for job in ("chief", EVALUATOR):
                    self._variables[job, 0] |= told
            for job, number in self._variables:
                if job in ("chief", EVALUATOR) or self._team.cluster is None:
                    self._start(job, number)
            running = True
            while running:
                # Asked before the last look at who is lost: all may have failed since.
                running = self._running()
                self._pass_on()
                if (lost := self._lost()) is not None and not self._replaced(lost):
                    return lost
            self._tell_profile(self._profile.since(0.0))
            self._task.log(line("in all", self._profile.whole()))
            return None
        finally:
            self._processes.stop()
            self._host.close()

    def _cluster(self) -> tuple[ClusterSpec, str]:
        evaluator = {EVALUATOR: 1} if self._team.evaluator else {}
        if (given := self._team.addresses()) is not None:
            require_up(given)
            here, master = self._host.cluster({"chief": 1, **evaluator})
            return ClusterSpec({**here.jobs, **given.jobs}), master
        servers = {"chief": 1, "ps": self._team.servers} if self._team.servers else {}
        return self._host.cluster({**servers, "worker": self._team.workers, **evaluator})

    def _start(self, job: str, number: int) -> None:
        serves = self._team.has_servers and job not in ("chief", EVALUATOR)
        module = "carrara.training.cluster.server" if serves else "carrara.training.cluster.worker"
        process = self._processes.add(job, number, self._host.start(job, number, module, self._variables[job, number]))
        self._heard[process.name] = self._moved = time.monotonic()

    def _running(self) -> bool:
        if self._complete is not None and time.monotonic() - self._complete > _ENDING_SECONDS:
            return False
        waited = [task for task in self._processes.tasks if task.job == "chief" or not self._team.has_servers]
        return any(task.status is None for task in waited)

    def _hear(self, process: Process, line: str) -> None:
        self._heard[process.name] = now = time.monotonic()
        _, mark, text = line.partition(MARK)
        if not mark:
            self._log(process, line)
            return
        process.said.pop()
        message = msgspec.json.decode(text)
        if "used" in message:
            self._profile.used(process.name, message["used"])
        if "used" not in message:
            self._moved = now
            self._messages.put((process, message))
        elif message["used"] - self._used.get(process.name, 0.0) >= _WORKED_SECONDS:
            self._used[process.name], self._moved = message["used"], now

    def _log(self, process: Process, line: str) -> None:
        self._logged[process.name] += 1
        if self._logged[process.name] <= _MOST_LOGGED:
            self._task.log(f"[{process.name}] {line}")
        elif self._logged[process.name] == _MOST_LOGGED + 1:
            self._task.log(f"[{process.name}] … what it says from here on is not kept")

    def _pass_on(self) -> None:
        """Tell what rank 0 has told, and keep its checkpoint."""
        try:
            process, message = self._messages.get(timeout=_SPINNING_SECONDS)
            while True:
                if "error" in message:
                    raise TrainingError(message["error"], hint=message["hint"])
                if "round" in message:
                    if (saved := FileCheckpoint(self._folder / CHECKPOINT).read()) is not None:
                        self._task.checkpoint.write(saved)
                    self._task.report(message["round"], message["loss"])
                    self._round = message["round"]
                    self._tell_profile(self._profile.since())
                elif "measured" in message:
                    self._task.measured(message["measured"], message["step"], message["value"])
                elif "paced" in message:
                    for name, value in message["figures"].items():
                        self._task.measured(f"{process.name} {name}", message["paced"], value)
                elif "complete" in message:
                    self._complete = time.monotonic()
                elif "computed" in message:
                    self._task.computed(message["computed"])
                elif "told" in message:
                    self._task.tell(message["told"])
                elif "done" in message:
                    self._task.advance(message["done"], message["total"])
                process, message = self._messages.get_nowait()
        except queue.Empty:
            return

    def _tell_profile(self, spent: Mapping[str, float]) -> None:
        if spent:
            self._task.log(line(f"until round {self._round}", spent))
        for name, seconds in spent.items():
            self._task.measured(f"{name} cpu_s", self._round, seconds)

    def _lost(self) -> Lost | None:
        now = time.monotonic()
        for process in self._processes.tasks:
            if process.status is None and now - self._heard[process.name] > SILENT_SECONDS:
                process.stop()
                return Lost(process, f"stood still for {SILENT_SECONDS:.0f} s", restarts=True)
        if now - self._moved > STUCK_SECONDS and self._complete is None:
            process = self._processes.tasks[0]
            return Lost(process, f"and the others waited for one another for {STUCK_SECONDS:.0f} s", restarts=True)
        if not self._processes.failed():
            return None
        # Those that waited for it follow it; what was killed is the cause, and not what they say of it.
        time.sleep(_SETTLING_SECONDS)
        self._pass_on()
        if self._complete is not None:
            # What it is that failed has no part in the fit any more.
            return None
        process = min(self._processes.failed(), key=lambda one: one.process.returncode)
        if (status := process.process.returncode) == PEER_LOST:
            return Lost(process, "lost one of the others", restarts=True)
        return Lost(process, process.ended, restarts=status < 0)

    def _replaced(self, lost: Lost) -> bool:
        """Whether the others need not be started again: of parameter servers a worker is, or they go on without it."""
        process = lost.process
        if not (self._team.servers and process.job == "worker" and lost.restarts):
            return False
        if self._losses.gives_up(lost):
            self._losses.give_up()
            self._processes.tasks.remove(process)
            self._task.tell(f"{lost.said}; the others go on without it")
            return True
        if not self._losses.restarts_left:
            return False
        self._losses.restart(lost)
        self._processes.tasks.remove(process)
        self._start(process.job, process.number)
        self._task.tell(f"{lost.said}; it was started again, and the others go on")
        return True
