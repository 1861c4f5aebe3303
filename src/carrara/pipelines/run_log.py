"""The log of a run: a line a step, and how it ended, in a file of its own."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from carrara.core.clock import now
from carrara.core.errors import NotFoundError
from carrara.core.progress import Progress, Step
from carrara.metadata.runs import run_ids
from carrara.pipelines.event_files import delete_events_of_no_run
from carrara.storage.stores import Stores


@contextmanager
def logged(stores: Stores, run_id: str, progress: Progress) -> Iterator[None]:
    """Write each step of `progress` down, and the traceback of what ends the block."""
    path = _path(stores, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(text: str) -> None:
        with path.open("a") as file:
            file.write(f"{now():%Y-%m-%dT%H:%M:%SZ} {text}\n")

    def watch(step: Step) -> None:
        write(f"{step.name}: {step.said} ({'reused' if step.reused else f'{step.seconds:.1f} s'})")

    progress.watchers.append(watch)
    progress.listeners.append(write)
    try:
        yield
    except BaseException as error:
        write(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        raise
    finally:
        progress.watchers.remove(watch)
        progress.listeners.remove(write)


def read_log_of_run(stores: Stores, run_id: str) -> str:
    """The log of a run so far."""
    try:
        return _path(stores, run_id).read_text()
    except FileNotFoundError:
        raise NotFoundError(
            "log of run", run_id, hint="Only trainings have one, on the machine that ran them."
        ) from None


def delete_logs_of_no_run(stores: Stores, before: datetime) -> None:
    """Delete what is older than a moment and of a run that is not known any more, on this machine: its log, and what it
    wrote for TensorBoard."""
    known = run_ids(stores.metadata)
    delete_events_of_no_run(stores, known, before)
    for path in _path(stores, "any").parent.glob("*.log"):
        if path.stem not in known and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)


def _path(stores: Stores, run_id: str) -> Path:
    return stores.root / ".carrara" / "runs" / f"{run_id}.log"
