"""Processes of this machine: whether one that was written down is still the same one, and how it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


class Stopped(BaseException):
    """Raised in a process that was asked to stop; nothing that handles errors holds it up."""


@dataclass(frozen=True)
class Process:
    """A process by its host, its number, and when it began: numbers are given again."""

    host: str
    number: int
    began: str

    @classmethod
    def current(cls) -> Process:
        return cls(socket.gethostname(), os.getpid(), _began(os.getpid()))

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Of a process on another host nobody knows: it is taken to be alive."""
        if not self.is_here:
            return True
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _began(self.number) == self.began

    def stop(self) -> None:
        """Ask it to stop."""
        os.kill(self.number, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Stopped in the block when this process is asked to stop."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _began(number: int) -> str:
    """A text that is another one for a later process of this number; empty where the system does not say."""
    try:
        # The name, which may hold anything, is in brackets; the time is the twentieth field behind it.
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        command = ["ps", "-o", "lstart=", "-p", str(number)]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
