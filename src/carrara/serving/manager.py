"""The manager: brings what is loaded to what is deployed, without losing a request.

Load, warm up, swap, drain, unload. A version that cannot be loaded never takes traffic, and what was loaded
before keeps serving; so it does when the metadata store is away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from carrara.core.errors import NotFoundError, UnavailableError
from carrara.serving.contract import Predictor, Target

_logger = logging.getLogger("carrara.serving")

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version of an endpoint, as TensorFlow Serving numbers them, and its error."""

    version: int
    state: int
    error: str = ""


@dataclass
class _Loaded:
    target: Target
    predictor: Predictor
    users: int = 0
    retired: bool = False
    idle: threading.Event = field(default_factory=threading.Event)


class ModelManager:
    """Keeps one predictor per endpoint as `desired` says, checked every `poll_seconds`."""

    def __init__(
        self, desired: Callable[[], Sequence[Target]], load: Callable[[Target], Predictor], *, poll_seconds: float = 1.0
    ) -> None:
        self._desired, self._load, self._poll_seconds = desired, load, poll_seconds
        self._loaded: dict[str, _Loaded] = {}
        self._failed: dict[str, tuple[Target, str]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-manager", daemon=True)

    def start(self) -> None:
        """Load what is desired now, and watch from then on."""
        self.reconcile()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and unload everything."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            loaded, self._loaded = list(self._loaded.values()), {}
        for one in loaded:
            self._retire(one)

    def reconcile(self) -> None:
        """Bring what is loaded to what is desired, once."""
        try:
            targets = {target.endpoint: target for target in self._desired()}
        except Exception:
            _logger.exception("what to serve cannot be read; what is loaded keeps serving")
            return
        for target in targets.values():
            current, failed = self._loaded.get(target.endpoint), self._failed.get(target.endpoint)
            if (current is None or current.target != target) and (failed is None or failed[0] != target):
                self._swap(target)
        for endpoint in [name for name in self._loaded if name not in targets]:
            with self._lock:
                gone = self._loaded.pop(endpoint)
            self._retire(gone)

    @contextmanager
    def acquire(self, endpoint: str, version: int | None = None) -> Iterator[Predictor]:
        """The predictor of an endpoint, which is not closed before the block ends."""
        with self._lock:
            loaded = self._loaded.get(endpoint)
            if loaded is None:
                raise self._absent(endpoint)
            if version is not None and version != loaded.predictor.version:
                serves = f"It serves version {loaded.predictor.version}."
                raise NotFoundError("version", f"{endpoint}, {version}", hint=serves)
            loaded.users += 1
        try:
            yield loaded.predictor
        finally:
            with self._lock:
                loaded.users -= 1
                if loaded.retired and not loaded.users:
                    loaded.idle.set()

    def status(self, endpoint: str) -> list[VersionStatus]:
        """The versions of an endpoint with their states; NotFoundError for an unknown one."""
        loaded, failed = self._loaded.get(endpoint), self._failed.get(endpoint)
        found = [VersionStatus(loaded.predictor.version, AVAILABLE)] if loaded is not None else []
        if failed is not None:
            found.append(VersionStatus(failed[0].version, END, failed[1]))
        if not found:
            raise self._absent(endpoint)
        return found

    def endpoints(self) -> list[str]:
        return sorted(self._loaded)

    def _swap(self, target: Target) -> None:
        try:
            predictor = self._load(target)
            predictor.warm_up()
        except Exception as error:
            _logger.error("%s@%s cannot serve %s: %s", target.model, target.version, target.endpoint, error)
            self._failed[target.endpoint] = (target, str(error))
            return
        with self._lock:
            previous = self._loaded.get(target.endpoint)
            self._loaded[target.endpoint] = _Loaded(target, predictor)
            self._failed.pop(target.endpoint, None)
        _logger.info("%s serves %s@%s", target.endpoint, target.model, target.version)
        if previous is not None:
            self._retire(previous)

    def _retire(self, loaded: _Loaded) -> None:
        with self._lock:
            loaded.retired = True
            busy = loaded.users > 0
        if busy:
            loaded.idle.wait()
        loaded.predictor.close()

    def _absent(self, endpoint: str) -> NotFoundError | UnavailableError:
        if endpoint in self._failed:
            return UnavailableError(f"endpoint '{endpoint}' could not be loaded: {self._failed[endpoint][1]}")
        return NotFoundError("endpoint", endpoint, self._loaded)

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            self.reconcile()
