"""A cluster on this machine: a process a task, with prefixed logs; when one fails, it is named and all are stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO

from carrara.core.errors import TrainingError
from carrara.training.cluster.spec import ClusterSpec

_STOPPING_SECONDS = 5.0
_SPINNING_SECONDS = 0.1
_LINES_KEPT = 20


@dataclass
class Task:
    """One process of a cluster, and the last lines that it said."""

    job: str
    number: int
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def name(self) -> str:
        return f"{self.job}:{self.number}"


def local_cluster(jobs: Mapping[str, int]) -> ClusterSpec:
    """Addresses on free ports of this machine, for so many tasks of each job."""
    with ExitStack() as held:
        # All are held until all are known, so that no port is given twice.
        return ClusterSpec({job: [_free_address(held) for _ in range(tasks)] for job, tasks in jobs.items()})


class LocalProcesses:
    """Processes of a cluster that start together, and end together."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._lock = say, threading.Lock()
        self.tasks: list[Task] = []
        self._readers: list[threading.Thread] = []

    def start(self, job: str, number: int, command: Sequence[str], variables: Mapping[str, str]) -> Task:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        task = Task(job, number, process)
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(task, process.stdout), daemon=True)
        reader.start()
        self.tasks.append(task)
        self._readers.append(reader)
        return task

    def failed(self) -> Task | None:
        """The first task that ended by itself with another status than 0."""
        return next((task for task in self.tasks if task.process.poll() and not task.stopped), None)

    def wait(self, told: threading.Event, jobs: Sequence[str] | None = None) -> Task | None:
        """Until all tasks (of some jobs) have ended, or one has failed, which is returned, or until told to stop."""
        waited = [task for task in self.tasks if jobs is None or task.job in jobs]
        while not told.is_set() and any(task.process.poll() is None for task in waited):
            if (failed := self.failed()) is not None:
                return failed
            told.wait(_SPINNING_SECONDS)
        return self.failed()

    def stop(self) -> None:
        """Ask what still runs to end, and kill what does not."""
        for task in self.tasks:
            if task.process.poll() is None:
                task.stopped = True
                task.process.terminate()
        for task in self.tasks:
            try:
                task.process.wait(_STOPPING_SECONDS)
            except subprocess.TimeoutExpired:
                task.process.kill()
                task.process.wait()
        for reader in self._readers:
            reader.join(_STOPPING_SECONDS)

    def _read(self, task: Task, stream: IO[str]) -> None:
        for line in stream:
            with self._lock:
                task.said = [*task.said[-_LINES_KEPT + 1 :], line.rstrip()]
                self._say(f"[{task.name}] {line.rstrip()}")


def launch(
    command: Sequence[str], jobs: Mapping[str, int], say: Callable[[str], None], told: threading.Event | None = None
) -> int:
    """Run a command as every task of a cluster on this machine, and return its exit status.

    Each process finds `TF_CONFIG`, and `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` as PyTorch's launcher sets
    them. The cluster ends with its chief and workers; parameter servers (`ps`) are stopped then. When a process fails,
    the others are stopped, and its status is returned.
    """
    told, cluster, processes = told or threading.Event(), local_cluster(jobs), LocalProcesses(say)
    ranked = [(job, number) for job, tasks in jobs.items() for number in range(tasks) if job != "ps"]
    host, _, port = local_cluster({"master": 1}).task_address("master", 0).rpartition(":")
    try:
        for job, tasks in jobs.items():
            for number in range(tasks):
                variables = {"TF_CONFIG": cluster.tf_config(job, number), "MASTER_ADDR": host, "MASTER_PORT": port}
                if job != "ps":
                    rank = ranked.index((job, number))
                    variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(ranked))}
                processes.start(job, number, command, variables)
        failed = processes.wait(told, [job for job in jobs if job != "ps"])
    finally:
        processes.stop()
    if failed is not None:
        status = failed.process.returncode
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        say(f"{failed.name} failed with {how}; the others were stopped")
        return 128 - status if status < 0 else status
    return 143 if told.is_set() else 0


class WorkerProcesses:
    """The other processes of a fit in which this one is rank 0; a context."""

    def __init__(self, workers: int, command: Sequence[str]) -> None:
        self._processes = LocalProcesses(lambda line: None)
        host, _, port = local_cluster({"master": 1}).task_address("master", 0).rpartition(":")
        self.address, self.port = host, int(port)
        for rank in range(1, workers):
            variables = {"RANK": str(rank), "WORLD_SIZE": str(workers), "MASTER_ADDR": host, "MASTER_PORT": port}
            self._processes.start("worker", rank, [sys.executable, *command], variables)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()

    def explained(self, error: Exception) -> TrainingError:
        """An error of a collective, as what ended the worker that is no longer there."""
        told = threading.Event()
        threading.Timer(_STOPPING_SECONDS, told.set).start()
        failed = self._processes.wait(told)
        if failed is None:
            return TrainingError(f"the workers could not go on together: {error}")
        last = "\n  ".join(failed.said[-5:]) or "It said nothing."
        return TrainingError(
            f"{failed.name} ended with status {failed.process.returncode} in the middle of training", hint=last
        )


def _free_address(held: ExitStack) -> str:
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{listener.getsockname()[1]}"
