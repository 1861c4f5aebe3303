"""Gates of what users meet later and a test part does not show: features that are there, answers without them, a report
without holes, and figures that held before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from carrara.core.clock import duration
from carrara.core.errors import DefinitionError
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import ROUNDING, GateResult
from carrara.evaluation.metrics import Metric, metric

_MOST_NAMED = 5


@dataclass(frozen=True)
class FeaturesValidated:
    """No feature is missing in more than a share `missing` of the rows of any part, and none is always the same."""

    missing: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.missing < 1:
            raise DefinitionError(f"FeaturesValidated(missing={self.missing!r}) is a share, from 0 to below 1")

    @property
    def name(self) -> str:
        return "features validated"

    def spec(self) -> dict[str, Any]:
        return {"gate": "features_validated", "missing": self.missing}

    def judge(self, evidence: Evidence) -> GateResult:
        if evidence.features is None:
            return GateResult(self.name, False, None, self.missing, "nobody looked at the features")
        wrong, worst = [], 0.0
        for one in evidence.features:
            part, share = max(one.missing.items(), key=lambda pair: pair[1])
            worst = max(worst, share)
            if share > self.missing:
                wrong.append(f"{one.name} is missing in {share:.0%} of the {part} rows")
            elif one.constant:
                wrong.append(f"{one.name} is the same in every row that has one")
        count = len(evidence.features)
        said = f"its {count} features are there and differ" if not wrong else "; ".join(wrong[:_MOST_NAMED])
        return GateResult(self.name, not wrong, worst, self.missing, said)


@dataclass(frozen=True)
class NullsHandled:
    """Without any one of its features, and without all of them, the served model answers numbers, and those that it
    gives where it is evaluated."""

    @property
    def name(self) -> str:
        return "nulls handled"

    def spec(self) -> dict[str, Any]:
        return {"gate": "nulls_handled"}

    def judge(self, evidence: Evidence) -> GateResult:
        trial = evidence.trial
        if trial is None or not trial.safe or trial.nulls is None:
            reason = trial.reason if trial is not None else ""
            return GateResult(
                self.name, False, None, None, f"nobody could ask it without its features {reason}".strip()
            )
        if trial.nulls:
            return GateResult(self.name, False, None, None, trial.nulls)
        return GateResult(
            self.name, True, None, None, f"{trial.null_rows} rows without a feature were answered as numbers"
        )


@dataclass(frozen=True)
class FullyReported:
    """The report that people decide by has no holes: every metric on the test rows, slices, a baseline and charts."""

    @property
    def name(self) -> str:
        return "fully reported"

    def spec(self) -> dict[str, Any]:
        return {"gate": "fully_reported"}

    def judge(self, evidence: Evidence) -> GateResult:
        found = evidence.evaluation
        unknown = [name for name, value in found.metrics.items() if math.isnan(value.value)]
        holes = {
            "metrics of test rows": not (found.rows and found.metrics),
            f"a value of {', '.join(unknown)}": bool(unknown),
            "slices (slices=…)": not found.slices,
            "a baseline (baseline=…)": not found.baseline,
            "charts": not found.charts,
        }
        lacking = [name for name, is_hole in holes.items() if is_hole]
        said = (
            f"its report lacks {'; '.join(lacking)}" if lacking else f"its report is complete, on {found.rows:,} rows"
        )
        return GateResult(self.name, not lacking, float(len(lacking)), 0.0, said)


@dataclass(frozen=True)
class Backtested:
    """Trained anew at each of `origins` past moments, `every` so long, it kept to `value` on what came next, each time.

    The metric is at least the value where more of it is better, and else at most.
    """

    metric: str | Metric
    value: float
    origins: int = 3
    every: str = "7d"

    def __post_init__(self) -> None:
        if metric(self.metric).greater_is_better is None:
            raise DefinitionError(f"Backtested('{self.metric}') has no direction: {self.metric} only describes")
        if self.origins < 1:
            raise DefinitionError(f"Backtested(origins={self.origins!r}) has no moment to go back to")
        duration(self.every)

    @property
    def bound(self) -> str:
        return "at least" if metric(self.metric).greater_is_better else "at most"

    @property
    def name(self) -> str:
        return (
            f"backtest: {self.metric} {self.bound} {self.value:g} at each of {self.origins} moments, {self.every} apart"
        )

    def spec(self) -> dict[str, Any]:
        asked = {"value": self.value, "origins": self.origins, "every": self.every}
        return {"gate": "backtested", "metric": str(self.metric), **asked}

    def judge(self, evidence: Evidence) -> GateResult:
        found = (evidence.backtests or {}).get((self.origins, self.every), "nobody trained it at past moments")
        if isinstance(found, str):
            return GateResult(self.name, False, None, self.value, found)
        values = [fold[str(self.metric)].value for fold in found if str(self.metric) in fold]
        if len(values) < self.origins or any(math.isnan(value) for value in values):
            said = f"{self.metric} was not measured, or is undefined, at some moment"
            return GateResult(self.name, False, None, self.value, said)
        sign = 1 if metric(self.metric).greater_is_better else -1
        worst = min(values, key=lambda value: sign * value)
        passed = sign * (worst - self.value) >= -ROUNDING
        told = ", ".join(f"{value:.4g}" for value in values)
        verb = "is" if passed else "is not"
        said = f"{worst:.4g} {verb} {self.bound} {self.value:.4g}; oldest first: {told}"
        return GateResult(self.name, passed, worst, self.value, said)


features_validated = FeaturesValidated
nulls_handled = NullsHandled
fully_reported = FullyReported
backtested = Backtested
