"""Gates across slices: how far apart groups may be, and whether they are farther apart than under the champion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from carrara.core.errors import DefinitionError
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.fairness import MOST_GROUPS, gaps
from carrara.evaluation.gates import ROUNDING, GateResult, without_champion
from carrara.evaluation.intervals import deviations
from carrara.evaluation.metrics import Metric, metric
from carrara.evaluation.paired import PairedDifference
from carrara.evaluation.slices import MISSING, OTHER


@dataclass(frozen=True)
class GapAtMost:
    """No two slices of the column `between` have a metric that is more than `value` apart.

    What chance alone may have made is not held against the model, unless it has to be `proven` that they are not: then
    the whole interval of every difference, as wide as all pairs need together, must be within `value`.
    """

    metric: str | Metric
    value: float
    between: str
    proven: bool = False

    def __post_init__(self) -> None:
        metric(self.metric)
        _check(self, self.value)

    @property
    def name(self) -> str:
        return f"{self.metric} between {self.between} at most {self.value:g} apart{', proven' if self.proven else ''}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "gap_at_most", **_plain(self)}

    def judge(self, evidence: Evidence) -> GateResult:
        slices = [one for one in evidence.evaluation.slices if one.column == self.between]
        found = gaps(slices, str(self.metric))
        if not found:
            return _unseen(self, self.value)
        worst = max(found, key=lambda gap: gap.high_bound if self.proven else gap.low_bound)
        passed = (worst.high_bound if self.proven else worst.low_bound) <= self.value + ROUNDING
        said = f"{self.metric} of {self.between} = {worst.high} is {worst.difference:.4g}"
        said += f" [{worst.low_bound:.4g}, {worst.high_bound:.4g}] above that of {worst.low}"
        return GateResult(self.name, passed, worst.difference, self.value, said)


@dataclass(frozen=True)
class GapNotWiderThanChampion:
    """The slices of the column `between` are not farther apart in a metric than the champion's by more than `by`.

    Both are asked on the same rows, and what chance alone may have made is not held against the model. Passes without
    a champion.
    """

    metric: str | Metric
    between: str
    by: float = 0.0

    def __post_init__(self) -> None:
        metric(self.metric)
        _check(self, self.by)

    @property
    def min_rows(self) -> int:
        return 200

    @property
    def name(self) -> str:
        margin = f" by {self.by:g}" if self.by else ""
        return f"{self.metric} between {self.between} not farther apart than the champion's{margin}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "gap_not_wider_than_champion", **_plain(self)}

    def judge(self, evidence: Evidence) -> GateResult:
        if evidence.champion is None:
            return without_champion(self)
        groups = self._groups(evidence)
        if not 2 <= len(groups) <= MOST_GROUPS:
            return _unseen(self)
        before = max(one.one for one in groups.values()) - min(one.one for one in groups.values())
        count = len(groups) * (len(groups) - 1) // 2
        wide = deviations(count) / deviations()
        sure = {(high, low): _gap(groups[high], groups[low], wide) for high, low in permutations(groups, 2)}
        high, low = max(sure, key=lambda pair: sure[pair])
        gap = groups[high].other - groups[low].other
        said = f"{self.metric} of {self.between} = {high} is {gap:.4g} above that of {low},"
        said += f" {sure[high, low]:.4g} beyond chance; the champion's are at most {before:.4g} apart"
        return GateResult(self.name, sure[high, low] <= before + self.by + ROUNDING, gap, before + self.by, said)

    def _groups(self, evidence: Evidence) -> dict[str, PairedDifference]:
        start = f"{self.between} = "
        found = {
            name.removeprefix(start): pairs[str(self.metric)]
            for name, pairs in (evidence.paired_slices or {}).items()
            if name.startswith(start) and str(self.metric) in pairs
        }
        return {v: pair for v, pair in found.items() if v not in (OTHER, MISSING) and not math.isnan(pair.low)}


def _gap(high: PairedDifference, low: PairedDifference, wide: float) -> float:
    """By how much one group is above the other for certain, as far as their differences to the champion vary."""
    reach = math.hypot((high.high - high.low) / 2, (low.high - low.low) / 2)
    return high.other - low.other - wide * reach


def _plain(gate: GapAtMost | GapNotWiderThanChampion) -> dict[str, Any]:
    return {**vars(gate), "metric": str(gate.metric)}


def _check(gate: GapAtMost | GapNotWiderThanChampion, margin: float) -> None:
    if not (math.isfinite(margin) and margin >= 0):
        raise DefinitionError(f"{type(gate).__name__} allows {margin!r}, and a gap cannot be less than 0")


def _unseen(gate: GapAtMost | GapNotWiderThanChampion, required: float | None = None) -> GateResult:
    said = f"no two slices of '{gate.between}' have a {gate.metric}, or there are more than {MOST_GROUPS}"
    return GateResult(gate.name, False, None, required, f"{said}: is it in the model's slices?")


gap_at_most = GapAtMost
gap_not_wider_than_champion = GapNotWiderThanChampion
