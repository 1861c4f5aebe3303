"""The manager: brings what is loaded to what is deployed, without losing a request.

Load, warm up, swap, drain, unload. A version that cannot be loaded never takes traffic and is tried again; what
was loaded before keeps serving until something newer can, and so it does when the metadata store is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from carrara.core.errors import BeingLoaded, CarraraError, NotFoundError, UnavailableError
from carrara.serving.contract import Choice, Endpoint, Predictor, Target
from carrara.serving.metrics import Metrics
from carrara.serving.residency import Residency
from carrara.serving.slots import AVAILABLE, DEFAULT_RETRY, LOADING, UNLOADING, Retry, Route, Slot, VersionStatus
from carrara.serving.traffic import Traffic

_logger = logging.getLogger("carrara.serving")

Desired = Callable[[], Sequence[Endpoint]]
Load = Callable[[Target], Predictor]
Unloaded = Callable[[Endpoint, str], None]

_ENDED_KEPT = 10


@dataclass(frozen=True)
class Threads:
    """How many endpoints are loaded, and versions unloaded, at a time; 0 does it in the thread that watches, which is
    held up by a version that loads for long, or whose last request runs for long."""

    loading: int = 0
    unloading: int = 0


NO_THREADS = Threads()


class ModelManager:
    """Keeps one predictor per endpoint and version as `desired` says, checked every `poll_seconds`.

    With `unload_first` what is no longer wanted is unloaded before the new version is loaded: it needs the memory of
    one version only, and the endpoint answers UNAVAILABLE in between. `residency` bounds what is in memory: an endpoint
    that is not is loaded when it is asked, and raises BeingLoaded until then; `unloaded` is told of what has to go.
    """

    def __init__(
        self,
        desired: Desired,
        load: Load,
        *,
        poll_seconds: float = 1.0,
        retry: Retry = DEFAULT_RETRY,
        unload_first: bool = False,
        residency: Residency | None = None,
        unloaded: Unloaded | None = None,
        threads: Threads = NO_THREADS,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._residency, self._unloaded, self._clock = residency or Residency(), unloaded, clock
        self.metrics = metrics or Metrics()
        self._loaders = ThreadPoolExecutor(threads.loading, "load") if threads.loading else None
        self._unloaders = ThreadPoolExecutor(threads.unloading, "unload") if threads.unloading else None
        self._under_way: dict[str, Future[None]] = {}
        self._cold: dict[str, str] = {}
        self._desired_now: Mapping[str, Endpoint] = {}
        self._wanted = threading.Event()
        self._desired, self._load, self._poll_seconds = desired, load, poll_seconds
        self._retry, self._unload_first = retry, unload_first
        self._slots: dict[Target, Slot] = {}
        self._routes: dict[str, Route] = {}
        self._splits: dict[str, Traffic] = {}
        self._ids: dict[str, Choice] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._reconciling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-manager", daemon=True)

    def start(self) -> None:
        """Load what is desired now, and watch from then on."""
        self.reconcile()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and unload everything."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._reconciling:
            wait(self._under_way.values())
            for name in list(self._routes):
                self._unload_all(name)
        for pool in (self._loaders, self._unloaders):
            if pool is not None:
                pool.shutdown()

    def reconcile(self, *, waits: bool = True) -> None:
        """Bring what is loaded to what is desired, once; return when that is done, or, with threads that load, when
        they have been told."""
        with self._reconciling:
            if waits:
                wait(self._under_way.values())
            try:
                endpoints = {endpoint.name: endpoint for endpoint in self._desired()}
            except Exception:
                _logger.exception("what to serve cannot be read; what is loaded keeps serving")
                return
            resident, cold = self._residency.choose(list(endpoints.values()))
            busy = {name for name, one in self._under_way.items() if not one.done()}
            for name in {target.endpoint for target in list(self._slots)} - {one.name for one in resident} - busy:
                if name in cold and name in self._routes and self._unloaded is not None:
                    self._unloaded(endpoints[name], cold[name])
                self._unload_all(name)
            for endpoint in resident:
                if endpoint.name not in self._routes and self._is_full(endpoints):
                    cold[endpoint.name] = "the memory for models is full"
                elif self._loaders is None:
                    self._bring(endpoint)
                elif endpoint.name not in busy:
                    self._under_way[endpoint.name] = self._loaders.submit(self._bring, endpoint)
            if waits:
                wait(self._under_way.values())
            with self._changed:
                self._cold, self._desired_now = cold, endpoints
                self._changed.notify_all()

    def await_loaded(self, endpoint: str, seconds: float) -> None:
        """Return when an endpoint that was asked is in memory, or cannot be, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: endpoint in self._routes or endpoint not in self._cold, seconds)

    def named(self, choice: Choice) -> Choice:
        """The choice itself; of a version that is asked by its id, in the place of an endpoint, that version."""
        found = self._ids.get(choice.endpoint) if choice.endpoint not in self._routes else None
        if found is None or choice.label or choice.version not in (None, found.version):
            return choice
        return found

    def traffic(self, endpoint: str) -> Traffic | None:
        """How the traffic of an endpoint is shared, where it is."""
        return self._splits.get(endpoint)

    def most_rows(self, choice: Choice) -> int:
        """The most rows of one run that a version says for itself; 0 where it says nothing, or is not there."""
        route = self._routes.get(choice.endpoint)
        try:
            predictor = None if route is None else route.slot(choice).predictor
        except CarraraError:
            return 0
        return predictor.most_rows if predictor is not None else 0

    @contextmanager
    def acquire(self, choice: Choice) -> Iterator[Predictor]:
        """The predictor that a choice stands for now, which is not closed before the block ends."""
        choice = self.named(choice)
        with self._lock:
            route = self._routes.get(choice.endpoint)
            if route is not None or choice.endpoint in self._cold:
                self._residency.touch(choice.endpoint)
            if route is None:
                raise self._absent(choice.endpoint)
            slot = route.slot(choice)
            slot.users += 1
            predictor = slot.predictor
        assert predictor is not None
        try:
            yield predictor
        finally:
            with self._lock:
                slot.users -= 1
                if slot.state == UNLOADING and not slot.users:
                    slot.idle.set()

    def status(self, choice: Choice) -> list[VersionStatus]:
        """The versions of an endpoint with their states, the newest first, or the one that is asked for.

        NotFoundError for an endpoint or a version that there never was.
        """
        choice = self.named(choice)
        with self._lock:
            route = self._routes.get(choice.endpoint)
            wanted = route.slot(choice).target.version if route is not None and choice.label else choice.version
            slots = self._slots_of(choice.endpoint)
            found = [slot.status() for slot in slots if wanted in (None, slot.target.version)]
        if not slots and self.is_cold(choice.endpoint):
            # It is loaded when it is asked, and to be asked for its state is not that.
            targets = self._desired_now[choice.endpoint].targets
            slots = [Slot(target) for target in targets]
            found = [slot.status() for slot in slots if wanted in (None, slot.target.version)]
        if not slots:
            raise self._absent(choice.endpoint)
        if not found:
            raise NotFoundError("version", f"{choice.endpoint}, {wanted}", [str(slot.target.version) for slot in slots])
        return sorted(found, key=lambda one: -one.version)

    def endpoints(self) -> list[str]:
        """The endpoints that answer, also those that are loaded only when they are asked."""
        return sorted({*self._routes, *self._cold})

    def serves(self, endpoint: str) -> bool:
        """Whether an endpoint answers."""
        return endpoint in self._routes

    def is_cold(self, endpoint: str) -> bool:
        """Whether an endpoint is not in memory, and is loaded when it is asked."""
        return endpoint in self._cold and endpoint not in self._routes

    def _is_full(self, endpoints: Mapping[str, Endpoint]) -> bool:
        return self._residency.is_full(endpoints[name] for name in list(self._routes) if name in endpoints)

    def _bring(self, endpoint: Endpoint) -> None:
        """Load what an endpoint lacks and unload what it no longer needs."""
        for target in endpoint.targets:
            self._place(target)
        if self._unload_first:
            self._unload_stale(endpoint)
        for target in endpoint.targets:
            if self._slots[target].is_due(self._clock()):
                self._try(self._slots[target])
        self._direct(endpoint)
        if not endpoint.targets or any(self._slots[target].state == AVAILABLE for target in endpoint.targets):
            self._unload_stale(endpoint)

    def _place(self, target: Target) -> None:
        """A slot for a target that has none, or whose earlier life has ended."""
        with self._lock:
            if target in self._slots and self._slots[target].has_ended():
                del self._slots[target]
            self._slots.setdefault(target, Slot(target))

    def _try(self, slot: Slot) -> None:
        slot.state = LOADING
        predictor: Predictor | None = None
        try:
            with self._residency.weighed(slot.target, lambda: predictor.file_bytes if predictor else 0):
                predictor = self._load(slot.target)
                self._warm_up(predictor)
        except Exception as error:
            if str(error) != slot.error:
                _logger.error("%s cannot serve %s: %s", slot.target, slot.target.endpoint, error)
            slot.failed(str(error), self._retry, self._clock())
            return
        with self._lock:
            slot.loaded(predictor)
        if predictor.id:
            self.metrics.loaded(slot.target.endpoint, slot.target.version, predictor.id)
        _logger.info("%s serves %s", slot.target.endpoint, slot.target)

    def _warm_up(self, predictor: Predictor) -> None:
        began, records, status = time.perf_counter(), 0, "INVALID_ARGUMENT"
        try:
            records, status = predictor.warm_up(), "OK"
        finally:
            self.metrics.warmed_up(predictor.path, status, records, time.perf_counter() - began)

    def _direct(self, endpoint: Endpoint) -> None:
        """Lead requests to what is loaded, in one step; what is wanted goes before what is still there."""
        with self._lock:
            before = self._routes.get(endpoint.name)
            loaded = [one for one in self._slots.values() if one.serves(endpoint.name)]
            if loaded:
                self._routes[endpoint.name] = Route.over(loaded, endpoint, before)
            self._splits = {name: route.traffic for name, route in self._routes.items() if route.traffic is not None}
            self._ids = _by_id(self._slots.values())
            self._changed.notify_all()

    def _unload_stale(self, endpoint: Endpoint) -> None:
        route = self._routes.get(endpoint.name)
        held: set[Target] = set()
        # A label, or a primary, that waits for its new version keeps its old one.
        if route is not None and endpoint.targets and not self._unload_first:
            held = {slot.target for slot in route.labels.values()}
            if route.default is not None:
                held.add(route.default.target)
        for slot in self._slots_of(endpoint.name):
            if slot.target not in held.union(endpoint.targets):
                self._unload(slot)

    def _unload_all(self, name: str) -> None:
        with self._lock:
            self._routes.pop(name, None)
        for slot in self._slots_of(name):
            self._unload(slot)

    def _unload(self, slot: Slot) -> None:
        """Wait for the requests that use a version, and close it; one that was never loaded is forgotten."""
        with self._lock:
            if slot.has_ended() or slot.state == UNLOADING:
                return
            predictor, busy = slot.retire()
            if predictor is None:
                del self._slots[slot.target]
                return
            self._leave(slot)
        if self._unloaders is None:
            self._close(slot, predictor, busy)
        else:
            self._unloaders.submit(self._close, slot, predictor, busy)

    def _close(self, slot: Slot, predictor: Predictor, busy: bool) -> None:
        if busy:
            slot.idle.wait()
        try:
            predictor.close()
        except Exception:
            _logger.exception("%s could not be closed", slot.target)
        with self._lock:
            slot.ended()
            self._forget(slot.target.endpoint)

    def _leave(self, slot: Slot) -> None:
        """Lead no more requests to a version."""
        route = self._routes.pop(slot.target.endpoint, None)
        left = None if route is None else route.without(slot)
        if left is not None:
            self._routes[slot.target.endpoint] = left
        self._ids = _by_id(self._slots.values())

    def _forget(self, name: str) -> None:
        """Of the versions that ended, only the last are remembered."""
        for slot in [slot for slot in self._slots_of(name) if slot.has_ended()][:-_ENDED_KEPT]:
            del self._slots[slot.target]

    def _slots_of(self, name: str) -> list[Slot]:
        return [slot for slot in list(self._slots.values()) if slot.target.endpoint == name]

    def _absent(self, endpoint: str) -> NotFoundError | UnavailableError:
        slots = [slot for slot in self._slots_of(endpoint) if not slot.has_ended()]
        if endpoint in self._cold:
            self._wanted.set()
            return BeingLoaded(endpoint)
        errors = [slot.error for slot in slots if slot.error]
        if errors:
            return UnavailableError(f"endpoint '{endpoint}' could not be loaded: {errors[-1]}")
        if slots:
            return UnavailableError(f"endpoint '{endpoint}' is not loaded yet", hint="Ask again in a moment.")
        return NotFoundError("endpoint", endpoint, self._routes)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait(self._poll_seconds)
            self._wanted.clear()
            if self._stopping.is_set():
                return
            try:
                self.reconcile(waits=False)
            except Exception:
                _logger.exception("what is loaded could not be brought to what is deployed; it is tried again")


def _by_id(slots: Iterable[Slot]) -> dict[str, Choice]:
    """The versions that are loaded by their ids; one that several endpoints serve answers as the first of them."""
    found: dict[str, Choice] = {}
    for slot in slots:
        if slot.state == AVAILABLE and slot.predictor is not None and slot.predictor.id:
            found.setdefault(slot.predictor.id, Choice(slot.target.endpoint, slot.target.version))
    return found
