"""Processes that grow the same trees, each on its rows: XGBoost's collective communication, by a tracker in rank 0."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from carrara.core.plugins import require
from carrara.training.cluster.cores import cores
from carrara.training.trainers.base import Array, Part

_PATIENCE_SECONDS = 120
"""How long a process waits for the others."""

_RETRIES = 60
"""How often one asks for the tracker, a second and more apart: rank 0 may come up last."""


@contextmanager
def communicator() -> Iterator[Callable[[Part], Part]]:
    """Take part as the process that the environment names; what is given makes its share of a part."""
    purpose = "training by several processes"
    library = require("xgboost", extra="xgboost", purpose=purpose)
    collective = require("xgboost.collective", extra="xgboost", purpose=purpose)
    trackers = require("xgboost.tracker", extra="xgboost", purpose=purpose)
    rank, workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if rank == 0:
        tracker = trackers.RabitTracker(workers, address, port, sortby="task", timeout=_PATIENCE_SECONDS)
        tracker.start()

    with (
        library.config_context(nthread=cores()),
        collective.CommunicatorContext(
            dmlc_communicator="rabit",
            dmlc_tracker_uri=address,
            dmlc_tracker_port=port,
            dmlc_task_id=str(rank),
            dmlc_retry=_RETRIES,
            dmlc_timeout=_PATIENCE_SECONDS,
        ),
    ):
        yield lambda part: share(part, rank, workers)
    if rank == 0:
        # The others ask the tracker to let them go; it ends with this process, and they would ask for half an hour.
        with suppress(library.core.XGBoostError):
            tracker.wait_for(_PATIENCE_SECONDS)


def share(part: Part, rank: int, workers: int) -> Part:
    """The rows of a rank, where they are: those of a matrix in a file stay there."""

    def mine(values: Array) -> Array:
        return values[rank::workers]

    return Part(mine(part.features), mine(part.labels), None if part.weights is None else mine(part.weights))
