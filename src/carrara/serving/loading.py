"""Loading: brings the versions of an endpoint into memory and out of it again, without losing a request.

Load, warm up, swap, drain, unload. A version that cannot be loaded never takes traffic and is tried again; what was
loaded before keeps serving until something newer can.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from carrara.serving.contract import Endpoint, Predictor, Target
from carrara.serving.loaded import Loaded
from carrara.serving.metrics import Metrics
from carrara.serving.residency import Residency
from carrara.serving.slots import AVAILABLE, LOADING, Retry, Slot

_logger = logging.getLogger("carrara.serving")

Load = Callable[[Target], Predictor]


class Loader:
    """Changes what is `loaded`. With `unload_first` what is no longer wanted goes before the new version comes;
    `unloading` versions at a time are closed in threads, 0 closes them in the caller's."""

    def __init__(
        self,
        load: Load,
        loaded: Loaded,
        residency: Residency,
        metrics: Metrics,
        *,
        retry: Retry,
        unload_first: bool,
        unloading: int,
        clock: Callable[[], float],
    ) -> None:
        self.load = load
        self._loaded, self._residency, self._metrics = loaded, residency, metrics
        self._retry, self._unload_first, self._clock = retry, unload_first, clock
        self._unloaders = ThreadPoolExecutor(unloading, "unload") if unloading else None

    def bring(self, endpoint: Endpoint) -> None:
        """Load what an endpoint lacks and unload what it no longer needs."""
        for target in endpoint.targets:
            self._loaded.place(target)
        if self._unload_first:
            self._unload_stale(endpoint)
        slots = [self._loaded.slots[target] for target in endpoint.targets]
        for slot in slots:
            if slot.is_due(self._clock()):
                self._try(slot)
        self._loaded.direct(endpoint)
        if not slots or any(slot.state == AVAILABLE for slot in slots):
            self._unload_stale(endpoint)

    def unload(self, name: str) -> None:
        """Unload all versions of an endpoint."""
        self._loaded.close_off(name)
        for slot in self._loaded.of(name):
            self._unload(slot)

    def close(self) -> None:
        """Wait for what is being unloaded."""
        if self._unloaders is not None:
            self._unloaders.shutdown()

    def _try(self, slot: Slot) -> None:
        slot.state = LOADING
        predictor: Predictor | None = None
        try:
            with self._residency.weighed(slot.target, lambda: predictor.file_bytes if predictor else 0):
                predictor = self.load(slot.target)
                self._warm_up(predictor)
        except Exception as error:
            if str(error) != slot.error:
                _logger.error("%s cannot serve %s: %s", slot.target, slot.target.endpoint, error)
            slot.failed(str(error), self._retry, self._clock())
            return
        self._loaded.opened(slot, predictor)
        if predictor.id:
            self._metrics.loaded(slot.target.endpoint, slot.target.version, predictor.id)
        _logger.info("%s serves %s", slot.target.endpoint, slot.target)

    def _warm_up(self, predictor: Predictor) -> None:
        began, records, status = time.perf_counter(), 0, "INVALID_ARGUMENT"
        try:
            records, status = predictor.warm_up(), "OK"
        finally:
            self._metrics.warmed_up(predictor.path, status, records, time.perf_counter() - began)

    def _unload_stale(self, endpoint: Endpoint) -> None:
        for slot in self._loaded.stale(endpoint, holds=bool(endpoint.targets) and not self._unload_first):
            self._unload(slot)

    def _unload(self, slot: Slot) -> None:
        """Wait for the requests that use a version, and close it."""
        found = self._loaded.retire(slot)
        if found is None:
            return
        if self._unloaders is None:
            self._close(slot, *found)
        else:
            self._unloaders.submit(self._close, slot, *found)

    def _close(self, slot: Slot, predictor: Predictor, busy: bool) -> None:
        if busy:
            slot.idle.wait()
        try:
            predictor.close()
        except Exception:
            _logger.exception("%s could not be closed", slot.target)
        self._loaded.ended(slot)
