"""The servers of a cluster on this machine, kept up: one that is killed is started again, by its address."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from carrara.core.errors import NotFoundError, TrainingError
from carrara.training.cluster.messages import MARK
from carrara.training.cluster.processes import Process, Processes, popen
from carrara.training.cluster.spec import ClusterSpec

RESTARTS = 10
"""How often servers are started again before one gives up."""

_SPINNING_SECONDS = 0.2


def tasks_here(cluster: ClusterSpec) -> list[tuple[str, int]]:
    """The tasks whose addresses are of this machine."""
    mine = {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):
        mine |= {str(address[4][0]) for address in socket.getaddrinfo(socket.gethostname(), None)}
    tasks = [(job, number) for job in cluster.jobs for number in cluster.task_indices(job)]
    return [task for task in tasks if cluster.task_address(*task).rpartition(":")[0].strip("[]") in mine]


def keep_up(cluster: ClusterSpec, say: Callable[[str], None], told: threading.Event) -> None:
    """Serve every task of this machine until told to stop.

    Raises NotFoundError where none is of this machine, TrainingError for a server that ends by itself, with what it
    said: its port may be taken.
    """
    tasks = tasks_here(cluster)
    if not tasks:
        names = [f"{job}:{n} {cluster.task_address(job, n)}" for job in cluster.jobs for n in cluster.task_indices(job)]
        raise NotFoundError("task of this machine", socket.gethostname(), hint=f"There are: {', '.join(names)}.")
    processes = Processes(lambda task, line: None if MARK in line else say(f"[{task.name}] {line}"))
    try:
        for job, number in tasks:
            _start(processes, cluster, job, number)
            say(f"{job}:{number} serves at {cluster.task_address(job, number)}")
        _watch(processes, cluster, say, told)
    finally:
        processes.stop()


def _watch(processes: Processes, cluster: ClusterSpec, say: Callable[[str], None], told: threading.Event) -> None:
    restarts = 0
    while not told.wait(_SPINNING_SECONDS):
        for task in [one for one in processes.tasks if one.status is not None]:
            if task.process.returncode >= 0 or restarts == RESTARTS:
                said = "\n  ".join(line for line in task.said[-5:] if MARK not in line)
                raise TrainingError(f"{task.name} {task.ended}", hint=said or "It said nothing.")
            restarts += 1
            say(f"{task.name} {task.ended}; it is started again")
            processes.tasks.remove(task)
            _start(processes, cluster, task.job, task.number)


def _start(processes: Processes, cluster: ClusterSpec, job: str, number: int) -> Process:
    command = [sys.executable, "-m", "carrara.training.cluster.server"]
    return processes.add(job, number, popen(command, {"TF_CONFIG": cluster.tf_config(job, number)}))
