"""A script of one's own as every task of a cluster on this machine; when one fails, it is named, all are stopped, and
started again where that is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from carrara.training.cluster.losses import Losses, Lost
from carrara.training.cluster.processes import Process, Processes, local_cluster, popen, task_variables
from carrara.training.cluster.team import Team

_SPINNING_SECONDS = 0.1
_STARTED_BEFORE = "TORCHELASTIC_RESTART_COUNT"
"""How often the tasks were started before, as PyTorch's launcher tells it."""

Say = Callable[[str], None]


def launch(
    command: Sequence[str],
    jobs: Mapping[str, int],
    say: Say,
    told: threading.Event | None = None,
    *,
    restarts: int = 0,
    min_workers: int = 0,
) -> int:
    """Run a command as every task of a cluster on this machine, and return its exit status.

    Each process finds `TF_CONFIG`, and `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` as PyTorch's launcher sets
    them. The cluster ends with its chief and workers; parameter servers (`ps`) are stopped then. When a process fails,
    the others are stopped; all are started again, `restarts` times, and without a worker that has failed twice where
    `min_workers` are enough. Then its status is returned.
    """
    told, tries = told or threading.Event(), 0
    losses = Losses(Team(jobs.get("worker", 0), min_workers=min_workers), restarts)
    while True:
        now = {**jobs, "worker": losses.team.workers} if "worker" in jobs else jobs
        failed = _run(command, now, say, told, tries)
        if failed is None:
            return 143 if told.is_set() else 0
        status, tries = failed.process.returncode, tries + 1
        lost = Lost(failed, f"failed with {f'signal {-status}' if status < 0 else f'exit status {status}'}", True)
        ends = told.is_set() or not (losses.gives_up(lost) or losses.restarts_left)
        say(f"{lost.said}; the others were stopped" + ("" if ends else f", {_again(losses, lost)}"))
        if ends:
            return 128 - status if status < 0 else int(status)


def _again(losses: Losses, lost: Lost) -> str:
    if losses.gives_up(lost):
        losses.give_up()
        return f"and are started again without it: workers {losses.team.workers}"
    losses.restart(lost)
    return "and all are started again"


def _run(
    command: Sequence[str], jobs: Mapping[str, int], say: Say, told: threading.Event, tries: int
) -> Process | None:
    """All tasks, once; the one that has failed, if any."""
    processes = Processes(lambda task, line: say(f"[{task.name}] {line}"))
    master = local_cluster({"master": 1}).task_address("master", 0)
    try:
        for (job, number), variables in task_variables(local_cluster(jobs), master).items():
            processes.add(job, number, popen(command, {_STARTED_BEFORE: f"{tries}", **variables}))
        return _wait(processes, told)
    finally:
        processes.stop()


def _wait(processes: Processes, told: threading.Event) -> Process | None:
    """Until all tasks but servers have ended, or one has failed, which is returned, or until told to stop."""
    while not told.is_set() and any(task.status is None for task in processes.tasks if task.job != "ps"):
        if failed := processes.failed():
            return failed[0]
        told.wait(_SPINNING_SECONDS)
    return next(iter(processes.failed()), None)
