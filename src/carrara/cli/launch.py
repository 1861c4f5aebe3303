"""`carrara launch`: a script of one's own as every task of a cluster on this machine."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from carrara.cli.output import say


def launch(
    command: Annotated[list[str], typer.Argument(help="A Python script and its arguments.")],
    workers: Annotated[int, typer.Option(min=1, help="How many workers.")] = 1,
    ps: Annotated[int, typer.Option(min=0, help="How many parameter servers.")] = 0,
    chief: Annotated[bool, typer.Option(help="A chief beside the workers.")] = False,
    evaluator: Annotated[bool, typer.Option(help="An evaluator, which ends by itself.")] = False,
    restarts: Annotated[
        int,
        typer.Option(min=0, help="How often all are started again, when one has failed."),
    ] = 0,
    min_workers: Annotated[
        int,
        typer.Option(min=0, help="So many are enough, without one that has failed twice; 0: all."),
    ] = 0,
) -> None:
    """Run a script as every task of a cluster on this machine; when one fails, it is named, and all are stopped.

    Each process finds TF_CONFIG, and RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as the launchers of TensorFlow's
    strategies and of PyTorch set them. The exit status is that of the process that failed.
    """
    from carrara.training.cluster.launcher import launch as launch_all
    from carrara.training.cluster.processes import EVALUATOR

    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    jobs = {"chief": int(chief), "worker": workers, "ps": ps, EVALUATOR: int(evaluator)}
    asked = {job: count for job, count in jobs.items() if count}
    status = launch_all([sys.executable, *command], asked, say, told, restarts=restarts, min_workers=min_workers)
    if status:
        raise typer.Exit(status)
