"""Gates on answers that turn: when what should not decide is swapped, and from those of the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import DefinitionError
from carrara.evaluation.counterfactual import Swap
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import ROUNDING, Gate, GateResult, without_champion
from carrara.evaluation.metrics import MetricValue


@dataclass(frozen=True)
class FlipsAtMost:
    """At most a share `value` of the rows is answered otherwise when two values of a feature are swapped.

    Only rows that have one of them are asked. What chance alone may have made is not held against the model, unless it
    has to be `proven` that it is not more: then the whole interval must be within `value`.
    """

    value: float
    swap: Swap
    proven: bool = False

    def __post_init__(self) -> None:
        _check(self, self.value)

    @property
    def name(self) -> str:
        return f"at most {self.value:.4g} of the answers turn by {self.swap.name}{', proven' if self.proven else ''}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "flips_at_most", "value": self.value, "swap": self.swap.spec(), "proven": self.proven}

    def judge(self, evidence: Evidence) -> GateResult:
        found = ((evidence.flips or {}).get(self.swap) or {}).get("flip_rate")
        if found is None or math.isnan(found.value):
            said = f"no test row has one of the values of {self.swap.name}, or nobody asked"
            return GateResult(self.name, False, None, self.value, said)
        return _judged(self, found, self.value, self.proven, f"turn by {self.swap.name}")


@dataclass(frozen=True)
class FlipsFromChampionAtMost:
    """At most a share `value` of the test rows is answered otherwise than by the champion, each at its own threshold.

    Passes without a champion; `proven` is as for the gate above.
    """

    value: float
    proven: bool = False

    def __post_init__(self) -> None:
        _check(self, self.value)

    @property
    def name(self) -> str:
        return f"at most {self.value:.4g} of the answers are not the champion's{', proven' if self.proven else ''}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "flips_from_champion_at_most", "value": self.value, "proven": self.proven}

    def judge(self, evidence: Evidence) -> GateResult:
        if evidence.champion is None:
            return without_champion(self)
        found = (evidence.paired_flips or {}).get("flip_rate")
        if found is None:
            return GateResult(self.name, False, None, self.value, "the champion was not asked on the same rows")
        return _judged(self, found, self.value, self.proven, "are not the champion's")


def flips_at_most(value: float, swap: Mapping[str, Sequence[Any]], proven: bool = False) -> FlipsAtMost:
    """At most this share of the answers turns when two values of a feature, or of several, stand for each other.

    >>> flips_at_most(0.01, {"driver:sex": ("f", "m")}).name
    'at most 0.01 of the answers turn by driver:sex f ↔ m'
    """
    return FlipsAtMost(value, Swap.of(swap), proven)


flips_from_champion_at_most = FlipsFromChampionAtMost


def _judged(gate: Gate, found: MetricValue, value: float, proven: bool, what: str) -> GateResult:
    end = found.high if proven else found.low
    passed = bool((found.value if math.isnan(end) else end) <= value + ROUNDING)
    said = f"{found.value:.2%} [{found.low:.2%}, {found.high:.2%}] of the answers to {found.rows:,} rows {what}"
    return GateResult(gate.name, passed, found.value, value, said)


def _check(gate: Gate, value: float) -> None:
    if not 0 <= value <= 1:
        raise DefinitionError(f"{type(gate).__name__}({value!r}) must be a share, from 0 to 1")
