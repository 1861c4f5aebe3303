"""Whether the tasks of a cluster have come up: TensorFlow waits for one that never does, and does not say for which."""

from __future__ import annotations

import socket
import threading
import time

from carrara.core.errors import UnavailableError
from carrara.training.cluster.spec import ClusterSpec

COMING_UP_SECONDS = 30.0
"""How long a task may take until it listens."""

_ONE_TRY_SECONDS = 1.0
_SPINNING_SECONDS = 0.2


def missing(cluster: ClusterSpec) -> list[str]:
    """The tasks, as `job:number (HOST:PORT)`, at whose addresses nobody listens now."""
    found = []
    for job in cluster.jobs:
        for number in cluster.task_indices(job):
            host, _, port = cluster.task_address(job, number).rpartition(":")
            try:
                socket.create_connection((host, int(port)), _ONE_TRY_SECONDS).close()
            except OSError:
                found.append(f"{job}:{number} ({host}:{port})")
    return found


def require_up(cluster: ClusterSpec, seconds: float | None = None) -> None:
    """Wait until every task listens; UnavailableError names those that do not within COMING_UP_SECONDS."""
    seconds = COMING_UP_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    while (gone := missing(cluster)) and time.monotonic() < deadline:
        threading.Event().wait(_SPINNING_SECONDS)
    if gone:
        raise UnavailableError(
            f"{', '.join(gone)} did not come up within {seconds:.0f} s",
            hint="On that machine: carrara cluster server --job JOB --task NUMBER",
        )
