"""Gates of what is served, and of the data behind it: safe to serve, fast enough, small enough, validated."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, fields
from typing import Any

from carrara.core.clock import duration
from carrara.core.errors import DefinitionError
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import GateResult

MOST_ROWS, MOST_TRIES, MOST_WARM_UP = 200, 20, 100
PLACES = ("folder", "model", "port", "rest_port")
"""What the command of a server may name in braces: the folder of versions, the model's name, and its ports."""

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class SafeToServe:
    """The artifact is loaded in a process of its own with the real servers, warmed up, and answers real rows.

    What crashes, hangs for longer than `within`, answers another shape or type than its signature says, or otherwise
    than when it was evaluated, is refused with the reason. It is asked for so many `rows`, or only loaded where that
    is 0; what fails is tried again, `tries` times in all. `servers` are commands that start other servers, of other
    environments or images, which have to answer the same; of the rows `warm_up` come with the version, as requests
    that a server runs before it serves.

    >>> SafeToServe(servers=("carrara serve --port {port}",))
    Traceback (most recent call last):
    carrara.core.errors.DefinitionError: the server 'carrara serve --port {port}' does not say where {folder} is served
      Write e.g. carrara serve --model_base_path {folder} --model_name {model} --port {port} --rest_api_port {rest_port}
    """

    within: str = "60s"
    rows: int = 200
    tries: int = 1
    servers: tuple[str, ...] = ()
    warm_up: int = 0

    def __post_init__(self) -> None:
        duration(self.within)
        object.__setattr__(self, "servers", tuple(self.servers))
        bounds = {"rows": (0, MOST_ROWS), "tries": (1, MOST_TRIES), "warm_up": (0, MOST_WARM_UP)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise DefinitionError(
                    f"safe_to_serve({name}={getattr(self, name)!r}) is not between {least} and {most}"
                )
        for server in self.servers:
            _check_server(server)

    @property
    def name(self) -> str:
        return "safe to serve"

    def spec(self) -> dict[str, Any]:
        usual = {field.name: field.default for field in fields(self) if field.name != "within"}
        told = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        told |= {"servers": list(self.servers)} if self.servers else {}
        return {"gate": "safe_to_serve", "within": self.within, **told}

    def judge(self, evidence: Evidence) -> GateResult:
        trial = evidence.trial
        if trial is None:
            return GateResult(self.name, False, None, None, "nobody tried to serve it")
        if not trial.safe:
            return GateResult(self.name, False, None, None, f"it is not safe to serve: {trial.reason}")
        said = "it was loaded and warmed up"
        if trial.p99_ms is not None:
            said = f"it answered {trial.rows:,} real rows through {trial.through}, p99 {trial.p99_ms:.3g} ms"
        said += f", and in {len(trial.servers)} servers more" if trial.servers else ""
        said += f", at the try {trial.tries}" if trial.tries > 1 else ""
        return GateResult(self.name, True, None, None, said)


@dataclass(frozen=True)
class LatencyAtMost:
    """A request of one row takes at most so many milliseconds, in 99 of 100 cases."""

    milliseconds: float

    def __post_init__(self) -> None:
        _check_positive(self, self.milliseconds)

    @property
    def name(self) -> str:
        return f"p99 latency at most {self.milliseconds:g} ms"

    def spec(self) -> dict[str, Any]:
        return {"gate": "latency_at_most", "milliseconds": self.milliseconds}

    def judge(self, evidence: Evidence) -> GateResult:
        found = evidence.trial.p99_ms if evidence.trial is not None else None
        if found is None:
            return GateResult(self.name, False, None, self.milliseconds, "its latency was not measured")
        passed = found <= self.milliseconds
        verb = "are" if passed else "are not"
        said = f"{found:.3g} ms for 99 of 100 requests {verb} at most {self.milliseconds:g} ms"
        return GateResult(self.name, passed, found, self.milliseconds, said)


@dataclass(frozen=True)
class SizeAtMost:
    """The artifact that is served has at most so many megabytes."""

    megabytes: float

    def __post_init__(self) -> None:
        _check_positive(self, self.megabytes)

    @property
    def name(self) -> str:
        return f"size at most {self.megabytes:g} MB"

    def spec(self) -> dict[str, Any]:
        return {"gate": "size_at_most", "megabytes": self.megabytes}

    def judge(self, evidence: Evidence) -> GateResult:
        size = evidence.trial.bytes if evidence.trial is not None else None
        if size is None:
            return GateResult(self.name, False, None, self.megabytes, "its size was not measured")
        found = size / _MEGABYTE
        passed = found <= self.megabytes
        said = f"{found:.3g} MB {'is' if passed else 'is not'} at most {self.megabytes:g} MB"
        return GateResult(self.name, passed, found, self.megabytes, said)


@dataclass(frozen=True)
class DataValidated:
    """No dataset version that the model was trained on has an anomaly."""

    @property
    def name(self) -> str:
        return "data validated"

    def spec(self) -> dict[str, Any]:
        return {"gate": "data_validated"}

    def judge(self, evidence: Evidence) -> GateResult:
        if evidence.anomalies is None:
            return GateResult(self.name, False, None, None, "nobody looked at the data")
        found = list(evidence.anomalies)
        said = "its datasets have no anomalies" if not found else f"its data have anomalies: {'; '.join(found[:5])}"
        return GateResult(self.name, not found, float(len(found)), 0.0, said)


safe_to_serve = SafeToServe
latency_at_most = LatencyAtMost
size_at_most = SizeAtMost
data_validated = DataValidated

TRIED = (SafeToServe, LatencyAtMost, SizeAtMost)
"""The gates that need a trial."""


def _check_server(command: str) -> None:
    """Raise DefinitionError for a command that cannot start a server of the artifact."""
    hint = "Write e.g. carrara serve --model_base_path {folder} --model_name {model} --port {port}"
    hint += " --rest_api_port {rest_port}"
    try:
        words = [word.format(**dict.fromkeys(PLACES, "")) for word in shlex.split(command)]
    except (ValueError, KeyError, IndexError) as error:
        told = f"{error} is no place" if isinstance(error, KeyError) else str(error)
        raise DefinitionError(f"the server '{command}' cannot be read: {told}", hint=hint) from None
    for place, what in (("folder", "is served"), ("port", "is listened on")):
        if f"{{{place}}}" not in command or not words:
            raise DefinitionError(f"the server '{command}' does not say where {{{place}}} {what}", hint=hint)


def _check_positive(gate: object, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise DefinitionError(f"{type(gate).__name__}({value!r}) must be above 0")
