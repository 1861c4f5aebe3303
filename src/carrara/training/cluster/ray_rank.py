"""What one rank of a fit is on a Ray cluster: an actor that has the work's files on its node, and runs a process there.

It is the same process as on one machine (`worker.py`), so that the trainers know nothing of Ray.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from carrara.training.cluster.processes import popen
from carrara.training.cluster.work import CHECKPOINT

_POLL_SECONDS = 0.5
_MOST_LINES = 1_000


class Rank:
    """One rank; `fit` names the folder of the work, which the ranks of a node share."""

    def __init__(self, fit: str, host: str) -> None:
        self._folder, self._host = Path(tempfile.gettempdir()) / f"carrara-{fit}", host
        self._held = ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen, self._ended = 0, False

    def addresses(self, number: int) -> list[str]:
        """So many free ports of this node, held until the process starts."""
        listeners = [self._held.enter_context(socket.create_server((self._host, 0))) for _ in range(number)]
        return [f"{self._host}:{listener.getsockname()[1]}" for listener in listeners]

    def clear(self) -> None:
        """Remove the work, of this try or of one before."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, name: str, data: bytes) -> None:
        """Add a slice to a file of the work."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab") as file:
            file.write(data)

    def start(self, module: str, variables: Mapping[str, str]) -> None:
        self._held.close()
        self._lines, self._ended = queue.SimpleQueue(), False
        (self._folder / "start").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = popen([sys.executable, "-m", module, str(self._folder)], variables)
        assert self._process.stdout is not None
        told = (self._process.stdout, self._lines)
        threading.Thread(target=_read, args=told, daemon=True).start()

    def poll(self, keeps: bool) -> tuple[list[str], int | None, bytes | None]:
        """What was said since, the exit status where all was said, and the checkpoint where it `keeps` a newer one."""
        assert self._process is not None
        lines: list[str] = []
        try:
            while len(lines) < _MOST_LINES and not self._ended:
                line = self._lines.get(timeout=0 if lines else _POLL_SECONDS)
                if line is None:
                    self._ended = True
                else:
                    lines.append(line)
        except queue.Empty:
            pass
        # Read after the lines: a process writes its checkpoint before it tells of it.
        checkpoint = self._newer() if keeps else None
        return lines, self._process.wait() if self._ended else None, checkpoint

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.Signals(number))

    def pids(self) -> tuple[int, int | None]:
        """Of the actor and of its process."""
        return os.getpid(), None if self._process is None else self._process.pid

    def _newer(self) -> bytes | None:
        try:
            changed = (self._folder / CHECKPOINT).stat().st_mtime_ns
            if changed == self._seen:
                return None
            self._seen = changed
            return (self._folder / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None


def _read(stream: Iterable[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
