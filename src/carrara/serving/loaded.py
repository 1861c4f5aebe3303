"""What is loaded, as requests see it: which version answers, and which may not be closed while a request uses it."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from carrara.core.errors import CarraraError
from carrara.serving.contract import Choice, Endpoint, Predictor, Target
from carrara.serving.slots import AVAILABLE, UNLOADING, Route, Slot, VersionStatus
from carrara.serving.traffic import Traffic

_ENDED_KEPT = 10


class Loaded:
    """The slots of all versions, and the routes that lead requests to those that answer. Thread-safe.

    `changed` is notified whenever a request may be answered that was not before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        self.slots: dict[Target, Slot] = {}
        self.routes: dict[str, Route] = {}
        self._splits: dict[str, Traffic] = {}
        self._ids: dict[str, Choice] = {}

    def named(self, choice: Choice) -> Choice:
        """The choice itself; of a version that is asked by its id, in the place of an endpoint, that version."""
        found = self._ids.get(choice.endpoint) if choice.endpoint not in self.routes else None
        if found is None or choice.label or choice.version not in (None, found.version):
            return choice
        return found

    def traffic(self, endpoint: str) -> Traffic | None:
        """How the traffic of an endpoint is shared, where it is."""
        return self._splits.get(endpoint)

    def most_rows(self, choice: Choice) -> int:
        """The most rows of one run that a version says for itself; 0 where it says nothing, or is not there."""
        route = self.routes.get(choice.endpoint)
        try:
            predictor = None if route is None else route.slot(choice).predictor
        except CarraraError:
            return 0
        return predictor.most_rows if predictor is not None else 0

    def enter(self, choice: Choice) -> Slot | None:
        """The version that a choice stands for now, which is not closed before it is left; None where nothing of its
        endpoint is loaded."""
        with self._lock:
            route = self.routes.get(choice.endpoint)
            if route is None:
                return None
            slot = route.slot(choice)
            slot.users += 1
            return slot

    def leave(self, slot: Slot) -> None:
        with self._lock:
            slot.users -= 1
            if slot.state == UNLOADING and not slot.users:
                slot.idle.set()

    def statuses(self, choice: Choice) -> tuple[list[VersionStatus], int | None]:
        """The states of all versions of an endpoint, and the number of the one that is asked for."""
        with self._lock:
            route = self.routes.get(choice.endpoint)
            wanted = route.slot(choice).target.version if route is not None and choice.label else choice.version
            return [slot.status() for slot in self.of(choice.endpoint)], wanted

    def of(self, endpoint: str) -> list[Slot]:
        """The slots of an endpoint, also of versions that failed or that have ended."""
        return [slot for slot in list(self.slots.values()) if slot.target.endpoint == endpoint]

    def place(self, target: Target) -> None:
        """A slot for a target that has none, or whose earlier life has ended."""
        with self._lock:
            if target in self.slots and self.slots[target].has_ended():
                del self.slots[target]
            self.slots.setdefault(target, Slot(target))

    def opened(self, slot: Slot, predictor: Predictor) -> None:
        """A version is loaded and warm; nothing leads to it yet."""
        with self._lock:
            slot.loaded(predictor)

    def direct(self, endpoint: Endpoint) -> None:
        """Lead requests to what is loaded, in one step; what is wanted goes before what is still there."""
        with self._lock:
            before = self.routes.get(endpoint.name)
            loaded = [one for one in self.slots.values() if one.serves(endpoint.name)]
            if loaded:
                self.routes[endpoint.name] = Route.over(loaded, endpoint, before)
            self._splits = {name: route.traffic for name, route in self.routes.items() if route.traffic is not None}
            self._ids = _by_id(self.slots.values())
            self.changed.notify_all()

    def close_off(self, endpoint: str) -> None:
        """Lead no more requests to an endpoint."""
        with self._lock:
            self.routes.pop(endpoint, None)

    def retire(self, slot: Slot) -> tuple[Predictor, bool] | None:
        """Lead no more requests to a version: what is to be closed, and whether requests still use it.

        None where that is done already, or where it was never loaded, and then it is forgotten.
        """
        with self._lock:
            if slot.has_ended() or slot.state == UNLOADING:
                return None
            predictor, busy = slot.retire()
            if predictor is None:
                del self.slots[slot.target]
                return None
            route = self.routes.pop(slot.target.endpoint, None)
            left = None if route is None else route.without(slot)
            if left is not None:
                self.routes[slot.target.endpoint] = left
            self._ids = _by_id(self.slots.values())
            return predictor, busy

    def ended(self, slot: Slot) -> None:
        """A version is closed; of those that ended, only the last are remembered."""
        with self._lock:
            slot.ended()
            for one in [one for one in self.of(slot.target.endpoint) if one.has_ended()][:-_ENDED_KEPT]:
                del self.slots[one.target]

    def stale(self, endpoint: Endpoint, *, holds: bool) -> list[Slot]:
        """The versions of an endpoint that it no longer needs; where it `holds` them, a label, or a primary, that waits
        for its new version keeps its old one."""
        route = self.routes.get(endpoint.name)
        held: set[Target] = set()
        if route is not None and holds:
            held = {slot.target for slot in route.labels.values()}
            if route.default is not None:
                held.add(route.default.target)
        return [slot for slot in self.of(endpoint.name) if slot.target not in held.union(endpoint.targets)]


def _by_id(slots: Iterable[Slot]) -> dict[str, Choice]:
    """The versions that are loaded by their ids; one that several endpoints serve answers as the first of them."""
    found: dict[str, Choice] = {}
    for slot in slots:
        if slot.state == AVAILABLE and slot.predictor is not None and slot.predictor.id:
            found.setdefault(slot.predictor.id, Choice(slot.target.endpoint, slot.target.version))
    return found
