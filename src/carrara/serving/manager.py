"""The manager: brings what is loaded to what is deployed, and leads requests to it.

What is loaded keeps serving when it cannot be told what is deployed, as when the metadata store is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from carrara.core.errors import BeingLoaded, NotFoundError, UnavailableError
from carrara.serving.contract import Choice, Endpoint, Predictor
from carrara.serving.loaded import Loaded
from carrara.serving.loading import Load, Loader
from carrara.serving.metrics import Metrics
from carrara.serving.residency import Residency
from carrara.serving.slots import DEFAULT_RETRY, Retry, Slot, VersionStatus
from carrara.serving.traffic import Traffic

_logger = logging.getLogger("carrara.serving")

Desired = Callable[[], Sequence[Endpoint]]
Told = Callable[[Endpoint, str, str], None]
"""Is told of an endpoint what happens to it (`idle`, `unloaded`, `retired`), and why."""


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
    that is not is loaded when it is asked, and raises BeingLoaded until then; `told` is told of what has to go.
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
        told: Told | None = None,
        threads: Threads = NO_THREADS,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._residency, self._told = residency or Residency(), told
        self.metrics = metrics or Metrics()
        self._loaders = ThreadPoolExecutor(threads.loading, "load") if threads.loading else None
        self._under_way: dict[str, Future[None]] = {}
        self._loaded = Loaded()
        self._loader = Loader(
            load,
            self._loaded,
            self._residency,
            self.metrics,
            retry=retry,
            unload_first=unload_first,
            unloading=threads.unloading,
            clock=clock,
        )
        self._cold: Mapping[str, str] = {}
        self._desired_now: Mapping[str, Endpoint] = {}
        self._wanted = threading.Event()
        self._desired, self._poll_seconds = desired, poll_seconds
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
            for name in list(self._loaded.routes):
                self._loader.unload(name)
        if self._loaders is not None:
            self._loaders.shutdown()
        self._loader.close()

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
            resident, cold = self._resident(endpoints)
            busy = {name for name, one in self._under_way.items() if not one.done()}
            leaving = {one.endpoint for one in list(self._loaded.slots)} - {one.name for one in resident} - busy
            # Who asks for one of them while the others are loaded waits for it as well.
            self._cold = {**self._cold, **{name: cold[name] for name in leaving if name in cold}}
            for name in leaving:
                if name in cold and name in self._loaded.routes:
                    self._tell(endpoints[name], "unloaded", cold[name])
                self._loader.unload(name)
            for endpoint in resident:
                if endpoint.name not in self._loaded.routes and self._is_full(endpoints):
                    cold[endpoint.name] = "the memory for models is full"
                elif self._loaders is None:
                    self._loader.bring(endpoint)
                elif endpoint.name not in busy:
                    self._under_way[endpoint.name] = self._loaders.submit(self._loader.bring, endpoint)
            if waits:
                wait(self._under_way.values())
            with self._loaded.changed:
                self._cold, self._desired_now = cold, endpoints
                self._loaded.changed.notify_all()

    def load(self, endpoint: str) -> None:
        """Have an endpoint in memory: return where it is; else raise BeingLoaded, or why it cannot be."""
        self._residency.bring_back(endpoint)
        if endpoint in self._loaded.routes:
            return
        self._wanted.set()
        raise self._absent(endpoint) if self._will_not_come(endpoint) else BeingLoaded(endpoint)

    def load_within(self, endpoint: str, seconds: float) -> None:
        """The same, and wait for it; BeingLoaded where it is still on its way after `seconds`."""
        with suppress(BeingLoaded):
            return self.load(endpoint)
        with self._loaded.changed:
            self._loaded.changed.wait_for(
                lambda: endpoint in self._loaded.routes or self._will_not_come(endpoint), seconds
            )
        return self.load(endpoint)

    def _will_not_come(self, endpoint: str) -> bool:
        """Whether an endpoint could not be loaded, or is not there to be."""
        return endpoint not in self._desired_now or any(slot.error for slot in self._loaded.of(endpoint))

    def unload(self, endpoint: str) -> None:
        """Have an endpoint out of memory in a moment, until it is loaded again or deployed anew; NotFoundError."""
        if endpoint not in self._desired_now:
            raise NotFoundError("endpoint", endpoint, self._desired_now)
        self._residency.put_away(self._desired_now[endpoint])
        self._wanted.set()

    def await_loaded(self, endpoint: str, seconds: float) -> None:
        """Return when an endpoint that was asked is in memory, or cannot be, or after `seconds`."""
        with self._loaded.changed:
            self._loaded.changed.wait_for(
                lambda: endpoint in self._loaded.routes or endpoint not in self._cold, seconds
            )

    def named(self, choice: Choice) -> Choice:
        """The choice itself; of a version that is asked by its id, in the place of an endpoint, that version."""
        return self._loaded.named(choice)

    def traffic(self, endpoint: str) -> Traffic | None:
        """How the traffic of an endpoint is shared, where it is."""
        return self._loaded.traffic(endpoint)

    def most_rows(self, choice: Choice) -> int:
        """The most rows of one run that a version says for itself; 0 where it says nothing, or is not there."""
        return self._loaded.most_rows(choice)

    @contextmanager
    def acquire(self, choice: Choice) -> Iterator[Predictor]:
        """The predictor that a choice stands for now, which is not closed before the block ends."""
        choice = self._loaded.named(choice)
        self._residency.touch(choice.endpoint)
        slot = self._loaded.enter(choice)
        if slot is None:
            raise self._absent(choice.endpoint)
        assert slot.predictor is not None
        try:
            yield slot.predictor
        finally:
            self._loaded.leave(slot)

    def status(self, choice: Choice) -> list[VersionStatus]:
        """The versions of an endpoint with their states, the newest first, or the one that is asked for.

        NotFoundError for an endpoint or a version that there never was.
        """
        choice = self._loaded.named(choice)
        every, wanted = self._loaded.statuses(choice)
        if not every and self.is_cold(choice.endpoint):
            # It is loaded when it is asked, and to be asked for its state is not that.
            every = [Slot(target).status() for target in self._desired_now[choice.endpoint].targets]
        if not every:
            raise self._absent(choice.endpoint)
        found = [one for one in every if wanted in (None, one.version)]
        if not found:
            raise NotFoundError("version", f"{choice.endpoint}, {wanted}", [str(one.version) for one in every])
        return sorted(found, key=lambda one: -one.version)

    def endpoints(self) -> list[str]:
        """The endpoints that answer, also those that are loaded only when they are asked."""
        return sorted({*self._loaded.routes, *self._cold})

    def known(self) -> list[str]:
        """The endpoints that there are, also those that do not answer."""
        return sorted({*self._desired_now, *self._loaded.routes})

    def serves(self, endpoint: str) -> bool:
        """Whether an endpoint answers."""
        return endpoint in self._loaded.routes

    def is_cold(self, endpoint: str) -> bool:
        """Whether an endpoint is not in memory, and is loaded when it is asked."""
        return endpoint in self._cold and endpoint not in self._loaded.routes

    def _resident(self, endpoints: Mapping[str, Endpoint]) -> tuple[list[Endpoint], dict[str, str]]:
        """The endpoints that may be in memory, and why each of the others is not, of those that are loaded when they
        are asked."""
        chosen = self._residency.choose(list(endpoints.values()))
        for endpoint, what, why in chosen.told:
            self._tell(endpoint, what, why)
        return chosen.kept, chosen.cold

    def _tell(self, endpoint: Endpoint, what: str, why: str) -> None:
        _logger.info("%s is %s: %s", endpoint.name, what, why)
        if self._told is not None:
            self._told(endpoint, what, why)

    def _is_full(self, endpoints: Mapping[str, Endpoint]) -> bool:
        return self._residency.is_full(endpoints[name] for name in list(self._loaded.routes) if name in endpoints)

    def _absent(self, endpoint: str) -> NotFoundError | UnavailableError:
        if endpoint in self._cold:
            self._wanted.set()
            return BeingLoaded(endpoint)
        slots = [slot for slot in self._loaded.of(endpoint) if not slot.has_ended()]
        errors = [slot.error for slot in slots if slot.error]
        if errors:
            return UnavailableError(f"endpoint '{endpoint}' could not be loaded: {errors[-1]}")
        if slots:
            return UnavailableError(f"endpoint '{endpoint}' is not loaded yet", hint="Ask again in a moment.")
        if self._residency.is_away(endpoint):
            hint = f"It was unloaded: POST /v2/repository/models/{endpoint}/load, or deploy it anew."
            return NotFoundError("endpoint", endpoint, hint=hint)
        return NotFoundError("endpoint", endpoint, self._loaded.routes)

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
