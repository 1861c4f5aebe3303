"""Processes of a cluster: they start together, are listened to, and end together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from carrara.training.cluster.spec import ClusterSpec

EVALUATOR = "evaluator"
"""The job of a task that evaluates what the others train."""

_STOPPING_SECONDS = 5.0
_LINES_KEPT = 20


class Handle(Protocol):
    """A process that was started, here or elsewhere: what of `subprocess.Popen` there is to it."""

    @property
    def stdout(self) -> Iterable[str] | None:
        """The lines that it says, until it has ended."""

    @property
    def returncode(self) -> int | Any: ...

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; subprocess.TimeoutExpired where it does not in so many seconds."""

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Process:
    """One process of a cluster, and the last lines that it said; `stopped` where it was asked to end."""

    job: str
    number: int
    process: Handle
    said: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def name(self) -> str:
        return f"{self.job}:{self.number}"

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        status = self.process.returncode or 0
        return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"

    def stop(self) -> None:
        """Ask it to end, and kill it where it does not."""
        if self.process.poll() is None:
            self.stopped = True
            self.process.terminate()
        try:
            self.process.wait(_STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOPPING_SECONDS)


def local_cluster(jobs: Mapping[str, int]) -> ClusterSpec:
    """Addresses on free ports of this machine, for so many tasks of each job."""
    with ExitStack() as held:
        # All are held until all are known, so that no port is given twice.
        return ClusterSpec({job: [_free_address(held) for _ in range(tasks)] for job, tasks in jobs.items()})


def task_variables(cluster: ClusterSpec, master: str) -> dict[tuple[str, int], dict[str, str]]:
    """What each task finds in its environment, by (job, number): `TF_CONFIG`, and, of tasks that train, what
    PyTorch's launcher sets."""
    tasks = [(job, number) for job in cluster.jobs for number in cluster.task_indices(job)]
    ranked = [task for task in tasks if task[0] not in ("ps", EVALUATOR)]
    # An evaluator is no part of the cluster: it looks at checkpoints, and nobody waits for it.
    without = ClusterSpec({job: addresses for job, addresses in cluster.jobs.items() if job != EVALUATOR})
    host, _, port = master.rpartition(":")
    hosts = [cluster.task_address(*task).rpartition(":")[0] for task in ranked]
    found = {}
    for job, number in tasks:
        told = {"cluster": without.as_dict(), "task": {"type": job, "index": number}}
        variables = {"TF_CONFIG": json.dumps(told), "MASTER_ADDR": host, "MASTER_PORT": port}
        if (job, number) in ranked:
            rank = ranked.index((job, number))
            variables |= {"RANK": str(rank), "WORLD_SIZE": str(len(ranked))}
            variables |= {
                "LOCAL_RANK": str(hosts[:rank].count(hosts[rank])),
                "LOCAL_WORLD_SIZE": str(hosts.count(hosts[rank])),
            }
        found[job, number] = variables
    return found


def popen(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process on this machine, with these variables beside those of this one."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


class Processes:
    """The processes that are together; `hear` is called with each line that one says, one at a time."""

    def __init__(self, hear: Callable[[Process, str], None]) -> None:
        self._hear, self._lock = hear, threading.Lock()
        self.tasks: list[Process] = []
        self._readers: list[threading.Thread] = []

    def add(self, job: str, number: int, process: Handle) -> Process:
        """Listen to a process that was started."""
        task = Process(job, number, process)
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(task, process.stdout), daemon=True)
        reader.start()
        self.tasks.append(task)
        self._readers.append(reader)
        return task

    def failed(self) -> list[Process]:
        """The tasks that ended by themselves with another status than 0."""
        return [task for task in self.tasks if task.status and not task.stopped]

    def stop(self) -> None:
        """Ask what still runs to end, and kill what does not."""
        for task in self.tasks:
            if task.status is None:
                task.stopped = True
                task.process.terminate()
        for task in self.tasks:
            task.stop()
        for reader in self._readers:
            reader.join(_STOPPING_SECONDS)

    def _read(self, task: Process, stream: Iterable[str]) -> None:
        for line in stream:
            with self._lock:
                task.said = [*task.said[-_LINES_KEPT + 1 :], line.rstrip()]
                self._hear(task, line.rstrip())


def _free_address(held: ExitStack) -> str:
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{listener.getsockname()[1]}"
