"""The place of one version in a server, from START to END, and the route of requests to the versions of an endpoint."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carrara.core.errors import NotFoundError, RequestError, UnavailableError, did_you_mean
from carrara.serving.contract import Choice, Endpoint, Predictor, Target
from carrara.serving.traffic import Traffic

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version of an endpoint, as TensorFlow Serving numbers them, and its error."""

    version: int
    state: int
    error: str = ""


@dataclass(frozen=True)
class Retry:
    """How often a version that does not load is tried again, and after how long; `most` None is without end."""

    most: int | None = 5
    seconds: float = 60.0


DEFAULT_RETRY = Retry()


@dataclass(eq=False)
class Slot:
    """One version of an endpoint: its state, and the predictor while it is loaded."""

    target: Target
    state: int = START
    error: str = ""
    predictor: Predictor | None = None
    users: int = 0
    idle: threading.Event = field(default_factory=threading.Event)
    _failures: int = 0
    _next_try: float = 0.0

    def is_due(self, moment: float) -> bool:
        """Whether it should be loaded now: never tried, or failed and tried again."""
        return self.state in (START, LOADING) and moment >= self._next_try

    def has_ended(self) -> bool:
        """Whether it was loaded and is no more; a version that could not be loaded has failed instead."""
        return self.state == END and not self.error

    def serves(self, endpoint: str) -> bool:
        return self.target.endpoint == endpoint and self.state == AVAILABLE

    def loaded(self, predictor: Predictor) -> None:
        self.predictor, self.state, self.error = predictor, AVAILABLE, ""

    def failed(self, error: str, retry: Retry, moment: float) -> None:
        """Note a failure: it is LOADING still while it will be tried again, and then it has ended."""
        self._failures += 1
        self.error, self._next_try = error, moment + retry.seconds
        self.state = LOADING if retry.most is None or self._failures <= retry.most else END

    def retire(self) -> tuple[Predictor | None, bool]:
        """Take no more requests; what is to be closed, and whether requests still use it."""
        self.state = UNLOADING
        return self.predictor, self.users > 0

    def ended(self) -> None:
        self.predictor, self.state = None, END

    def status(self) -> VersionStatus:
        return VersionStatus(self.target.version, self.state, self.error)


@dataclass(frozen=True)
class Route:
    """The loaded versions of an endpoint by number and by label; `default` answers who asks for none.

    There is no default as long as only versions are loaded that are tried beside a primary.
    """

    slots: Mapping[int, Slot]
    labels: Mapping[str, Slot]
    default: Slot | None
    traffic: Traffic | None = None

    @classmethod
    def over(cls, loaded: Sequence[Slot], endpoint: Endpoint, before: Route | None) -> Route:
        """A route to what is loaded, by default to the newest of what the endpoint should serve.

        A label whose version is not loaded stays where it was.
        """
        wanted = [slot for slot in loaded if slot.target in endpoint.targets]
        by_version = {slot.target.version: slot for slot in [*loaded, *wanted]}
        held = {} if before is None else before.labels
        labels = {
            label: by_version.get(version) or held[label]
            for label, version in endpoint.labels.items()
            if version in by_version or label in held
        }
        return cls(by_version, labels, _default(loaded, wanted, endpoint, before), endpoint.traffic)

    def without(self, gone: Slot) -> Route | None:
        """The route to the others, or None where there is no other."""
        slots = {version: slot for version, slot in self.slots.items() if slot is not gone}
        if not slots:
            return None
        labels = {label: slot for label, slot in self.labels.items() if slot is not gone}
        default = self.default
        if default is gone:
            default = slots[max(slots)] if self.traffic is None else None
        return Route(slots, labels, default, self.traffic)

    def slot(self, choice: Choice) -> Slot:
        """The version that a choice stands for; NotFoundError or RequestError where it is not loaded."""
        if choice.label:
            if choice.label not in self.labels:
                raise RequestError(
                    f"Unrecognized servable version label: {choice.label}",
                    field="version_label",
                    hint=did_you_mean(choice.label, self.labels) or f"Known: {', '.join(self.labels) or 'none'}.",
                )
            return self.labels[choice.label]
        if choice.version is None or (choice.drawn and choice.version not in self.slots):
            if self.default is None:
                raise UnavailableError(f"endpoint '{choice.endpoint}' is not loaded yet", hint="Ask again in a moment.")
            return self.default
        if choice.version not in self.slots:
            loaded = ", ".join(str(version) for version in sorted(self.slots))
            raise NotFoundError("version", f"{choice.endpoint}, {choice.version}", hint=f"It serves version {loaded}.")
        return self.slots[choice.version]


def _default(loaded: Sequence[Slot], wanted: Sequence[Slot], endpoint: Endpoint, before: Route | None) -> Slot | None:
    """The primary; while it is not loaded, what answered before; where there is no primary, the newest."""
    if endpoint.primary is None:
        return max(wanted or loaded, key=lambda slot: slot.target.version)
    primary = next((slot for slot in wanted if slot.target.version == endpoint.primary), None)
    if primary is not None:
        return primary
    held = None if before is None else before.default
    return held if held in loaded else None
