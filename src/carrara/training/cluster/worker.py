"""A process of a fit that several share: `python -m carrara.training.cluster.worker FOLDER`.

It takes every step that the others take, on its own share of the rows, or measures what they learn, and tells of itself
on standard output: a line that begins with MARK is a message in JSON, all others are its log.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import CarraraError, UnavailableError
from carrara.training.checkpoints import ReadOnly
from carrara.training.cluster.messages import ALIVE_SECONDS, MARK, PEER_LOST
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.work import read_work

_LOST = ("UnavailableError", "AbortedError")
"""What TensorFlow raises where a server is gone."""


def tell(**message: Any) -> None:
    """One message to the process that listens; where it is gone, this one ends."""
    line = f"{MARK}{msgspec.json.encode(message).decode()}\n".encode()
    try:
        os.write(1, line)
    except BrokenPipeError:
        os._exit(1)


def main(folder: Path) -> None:
    threading.Thread(target=live, daemon=True).start()
    trainer, train, validation, task = read_work(folder)
    measures = "RANK" not in os.environ
    rank = int(os.environ.get("RANK", "1"))
    task = replace(task, paced=lambda number, figures: tell(paced=number, figures=figures))
    if rank:
        # Rank 0 alone writes the next checkpoints, and tells how far all are.
        task = replace(task, checkpoint=ReadOnly(task.checkpoint))
    else:
        task = replace(task, report=lambda number, loss: tell(round=number, loss=float(loss)))
        task = replace(task, advance=lambda done, total: tell(done=done, total=total))
        task = replace(task, measured=lambda name, step, value: tell(measured=name, step=step, value=float(value)))
        task = replace(task, tell=lambda text: tell(told=text), computed=lambda device: tell(computed=device))
    try:
        (trainer.measure if measures else trainer.join)(train, validation, task)
    except UnavailableError:
        traceback.print_exc()
        _leave(PEER_LOST)
    except CarraraError as error:
        tell(error=error.message, hint=error.hint)
        _leave(1)
    except Exception as error:
        traceback.print_exc()
        _leave(PEER_LOST if type(error).__name__ in _LOST else 1)
    if not rank:
        tell(complete=True)
    _leave(0)


def _leave(status: int) -> None:
    tell(used=time.process_time())
    # TensorFlow's coordinator never lets its process end by itself where a worker was lost (2.21), and who fails among
    # others that wait for it would wait for them.
    if status or ClusterSpec.from_tf_config(os.environ["TF_CONFIG"])[1] == "chief":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def live() -> None:
    """Say again and again that this process is alive, and how much of a processor's time it has used."""
    while True:
        tell(used=time.process_time())
        threading.Event().wait(ALIVE_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
