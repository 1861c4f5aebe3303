"""What pages work with: a workspace whose definitions follow their files, and answers that are dear to compute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from carrara.core.definitions import Definitions
from carrara.core.errors import CarraraError
from carrara.workspace.workspace import Workspace

T = TypeVar("T")


@dataclass
class Desk:
    """One workspace for every request of a server; safe to use from many threads."""

    workspace: Workspace
    _kept: dict[Any, Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: tuple[Any, ...] = ()

    def definitions(self) -> Definitions:
        """The definitions as their files are now. Raises what is wrong with them."""
        with self._lock:
            state = tuple(_state(path) for path in self.workspace.configuration.definition_files)
            if state != self._read:
                self.workspace.forget_definitions()
                self._read = state
        return self.workspace.definitions

    def declared(self, kind: str) -> dict[str, Any]:
        """What the definitions declare of a kind; nothing where they cannot be used: records are still shown."""
        try:
            return self.definitions().of_kind(kind)
        except CarraraError:
            return {}

    def kept(self, key: Any, seconds: float, compute: Callable[[], T]) -> T:
        """What `compute` returned lately: nobody waits for it again, it is renewed beside when it is old."""
        with self._lock:
            if len(self._kept) > 500:
                self._kept.clear()
            kept = self._kept.setdefault(key, Kept(threading.Lock()))
        return kept.get(seconds, compute)


@dataclass
class Kept:
    """One value, when it was computed, and whether somebody computes it anew."""

    lock: threading.Lock
    value: Any = None
    at: float | None = None

    def get(self, seconds: float, compute: Callable[[], T]) -> T:
        if self.at is None:
            with self.lock:
                if self.at is None:
                    self._renew(compute)
        elif time.monotonic() - self.at > seconds and self.lock.acquire(blocking=False):
            threading.Thread(target=self._renew_and_release, args=(compute,), daemon=True).start()
        value: T = self.value
        return value

    def _renew(self, compute: Callable[[], Any]) -> None:
        self.value = compute()
        self.at = time.monotonic()

    def _renew_and_release(self, compute: Callable[[], Any]) -> None:
        try:
            self._renew(compute)
        except CarraraError:
            self.at = None  # The next one who asks is told why.
        finally:
            self.lock.release()


def _state(path: Path) -> tuple[float, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime, found.st_size
