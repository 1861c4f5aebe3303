"""A script of one's own as every task of a cluster on this machine; when one fails, it is named and all are stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from carrara.training.cluster.processes import Process, Processes, local_cluster, popen, task_variables

_SPINNING_SECONDS = 0.1


def launch(
    command: Sequence[str], jobs: Mapping[str, int], say: Callable[[str], None], told: threading.Event | None = None
) -> int:
    """Run a command as every task of a cluster on this machine, and return its exit status.

    Each process finds `TF_CONFIG`, and `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` as PyTorch's launcher sets
    them. The cluster ends with its chief and workers; parameter servers (`ps`) are stopped then. When a process fails,
    the others are stopped, and its status is returned.
    """
    told, processes = told or threading.Event(), Processes(lambda task, line: say(f"[{task.name}] {line}"))
    master = local_cluster({"master": 1}).task_address("master", 0)
    try:
        for (job, number), variables in task_variables(local_cluster(jobs), master).items():
            processes.add(job, number, popen(command, variables))
        failed = _wait(processes, told)
    finally:
        processes.stop()
    if failed is not None:
        status = failed.process.returncode
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        say(f"{failed.name} failed with {how}; the others were stopped")
        return 128 - status if status < 0 else status
    return 143 if told.is_set() else 0


def _wait(processes: Processes, told: threading.Event) -> Process | None:
    """Until all tasks but servers have ended, or one has failed, which is returned, or until told to stop."""
    while not told.is_set() and any(task.status is None for task in processes.tasks if task.job != "ps"):
        if failed := processes.failed():
            return failed[0]
        told.wait(_SPINNING_SECONDS)
    return next(iter(processes.failed()), None)
