"""Gates: conditions that an evaluation must meet before its model version may take traffic.

To add a gate: write a frozen dataclass with `name`, `spec` and `judge`. A gate that cannot see what it
asks for (an unmeasured metric, no baseline, no slices) fails and says so; it never passes in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from carrara.core.errors import DefinitionError
from carrara.evaluation.metrics import Metric, MetricValue, metric

if TYPE_CHECKING:
    # A gate is declared, and read from a record, also where nothing is evaluated, as in a server.
    from carrara.evaluation.evidence import Evidence
    from carrara.evaluation.paired import PairedDifference
    from carrara.evaluation.slices import SliceResult

ROUNDING = 1e-12
"""What two figures may differ by and be the same."""


@dataclass(frozen=True)
class GateResult:
    """What a gate found; `found` and `required` are None where there was no figure to compare."""

    gate: str
    passed: bool
    found: float | None
    required: float | None
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "gate": self.gate,
            "passed": self.passed,
            "found": self.found,
            "required": self.required,
            "message": self.message,
        }


class Gate(Protocol):
    """A named condition on an evaluation."""

    @property
    def name(self) -> str:
        """The condition in words; equal for equal gates."""

    def spec(self) -> dict[str, Any]:
        """The gate as plain data, to compare definitions."""

    def judge(self, evidence: Evidence) -> GateResult:
        """Whether what was found meets the condition."""


@dataclass(frozen=True)
class AtLeast:
    """The metric is at least `value`."""

    metric: str | Metric
    value: float

    def __post_init__(self) -> None:
        metric(self.metric)

    @property
    def name(self) -> str:
        return f"{self.metric} at least {self.value:g}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "at_least", "metric": str(self.metric), "value": self.value}

    def judge(self, evidence: Evidence) -> GateResult:
        evaluation = evidence.evaluation
        found = _value(evaluation.metrics, self.metric)
        if found is None:
            return _unseen(self, f"{self.metric} was not measured, or is undefined on these rows", self.value)
        return _compared(self, found >= self.value - ROUNDING, found, self.value, "at least")


@dataclass(frozen=True)
class AtMost:
    """The metric is at most `value`."""

    metric: str | Metric
    value: float

    def __post_init__(self) -> None:
        metric(self.metric)

    @property
    def name(self) -> str:
        return f"{self.metric} at most {self.value:g}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "at_most", "metric": str(self.metric), "value": self.value}

    def judge(self, evidence: Evidence) -> GateResult:
        evaluation = evidence.evaluation
        found = _value(evaluation.metrics, self.metric)
        if found is None:
            return _unseen(self, f"{self.metric} was not measured, or is undefined on these rows", self.value)
        return _compared(self, found <= self.value + ROUNDING, found, self.value, "at most")


@dataclass(frozen=True)
class BetterThanBaseline:
    """The metric is better than the baseline's, by at least `by` (in the metric's own direction)."""

    metric: str | Metric
    by: float = 0.0

    def __post_init__(self) -> None:
        _direction(self.metric, self)
        _check_margin(self.by, self)

    @property
    def name(self) -> str:
        return f"{self.metric} better than the baseline" + (f" by {self.by:g}" if self.by else "")

    def spec(self) -> dict[str, Any]:
        return {"gate": "better_than_baseline", "metric": str(self.metric), "by": self.by}

    def judge(self, evidence: Evidence) -> GateResult:
        evaluation = evidence.evaluation
        sign = _direction(self.metric, self)
        found, baseline = _value(evaluation.metrics, self.metric), _value(evaluation.baseline, self.metric)
        if found is None or baseline is None:
            whose = "of the model" if found is None else "of the baseline"
            return _unseen(self, f"{self.metric} {whose} was not measured, or is undefined on these rows")
        gain = sign * (found - baseline)
        passed = gain > ROUNDING and gain >= self.by - ROUNDING
        side = "above" if sign > 0 else "below"
        return _compared(self, passed, found, baseline + sign * self.by, side if not self.by else _bound(sign))


@dataclass(frozen=True)
class _NoSlice:
    """A bound that every slice of at least `min_rows` rows keeps."""

    metric: str | Metric
    value: float
    min_rows: int = 200

    sign: ClassVar[int]
    """+1 where more of the metric is better."""
    side: ClassVar[str]
    worst: ClassVar[str]
    examples: ClassVar[str]

    def __post_init__(self) -> None:
        if metric(self.metric).greater_is_better is (self.sign < 0):
            more, less = ("more", "less") if self.sign > 0 else ("less", "more")
            raise DefinitionError(
                f"no_slice_{self.side}('{self.metric}') would ask for a worse model: {less} {self.metric} is better",
                hint=f"Use a metric where {more} is better, such as {self.examples}.",
            )

    @property
    def name(self) -> str:
        return f"no slice of {self.min_rows:,} rows with {self.metric} {self.side} {self.value:g}"

    def spec(self) -> dict[str, Any]:
        gate = f"no_slice_{self.side}"
        return {"gate": gate, "metric": str(self.metric), "value": self.value, "min_rows": self.min_rows}

    def judge(self, evidence: Evidence) -> GateResult:
        seen = list(_seen_slices(evidence.evaluation.slices, self.metric, self.min_rows))
        if not seen:
            return _unseen(self, f"no slice of at least {self.min_rows:,} rows has a {self.metric}", self.value)
        found, at = min(seen, key=lambda pair: self.sign * pair[0])
        where = f"the {self.worst} of {len(seen)} slices, {at.column} = {at.value} ({at.rows:,} rows), has"
        passed = self.sign * (found - self.value) >= -ROUNDING
        return GateResult(self.name, passed, found, self.value, f"{where} {self.metric} {found:.4g}")


class NoSliceBelow(_NoSlice):
    """No slice of at least `min_rows` rows has a metric below `value`."""

    sign, side, worst, examples = 1, "below", "lowest", "roc_auc or accuracy"


class NoSliceAbove(_NoSlice):
    """No slice of at least `min_rows` rows has a metric above `value`: for losses, of which less is better."""

    sign, side, worst, examples = -1, "above", "highest", "log_loss or calibration_error"


@dataclass(frozen=True)
class NotWorseThanChampion:
    """The metric is not worse than the champion's by more than `by`; passes where there is no champion.

    Both are asked on the same rows. What chance alone may have made is not held against the model, unless it has to be
    `proven` that it is not worse: then the whole interval of the difference must be within `by`.
    """

    metric: str | Metric
    by: float = 0.0
    proven: bool = False

    def __post_init__(self) -> None:
        _direction(self.metric, self)
        _check_margin(self.by, self)

    @property
    def name(self) -> str:
        margin = f" by {self.by:g}" if self.by else ""
        return f"{self.metric} not worse than the champion{margin}{', proven' if self.proven else ''}"

    def spec(self) -> dict[str, Any]:
        return {"gate": "not_worse_than_champion", "metric": str(self.metric), "by": self.by, "proven": self.proven}

    def judge(self, evidence: Evidence) -> GateResult:
        sign = _direction(self.metric, self)
        found = _value(evidence.evaluation.metrics, self.metric)
        if found is None:
            return _unseen(self, f"{self.metric} was not measured, or is undefined on these rows")
        if evidence.champion is None:
            return without_champion(self, found)
        pair = (evidence.paired or {}).get(str(self.metric))
        if pair is not None and not math.isnan(pair.low):
            return self._judged_on_the_same_rows(pair, sign)
        theirs = evidence.champion.get(str(self.metric), {}).get("value")
        if theirs is None:
            return _unseen(self, f"the champion's record has no {self.metric}")
        required = theirs - sign * self.by
        return _compared(self, sign * (found - required) >= -ROUNDING, found, required, _bound(sign))

    def _judged_on_the_same_rows(self, pair: PairedDifference, sign: int) -> GateResult:
        worst, best = sorted((sign * pair.low, sign * pair.high))
        passed = bool((worst if self.proven else best) >= -self.by - ROUNDING)
        said = f"{self.metric} {pair.other:.4g} is {pair.difference:+.4g} [{pair.low:+.4g}, {pair.high:+.4g}] of the"
        said += f" champion's {pair.one:.4g} on the same {pair.rows:,} rows"
        return GateResult(self.name, passed, pair.other, pair.one - sign * self.by, said)


at_least = AtLeast
at_most = AtMost
better_than_baseline = BetterThanBaseline
no_slice_above = NoSliceAbove
no_slice_below = NoSliceBelow
not_worse_than_champion = NotWorseThanChampion


def judge_gates(gates: Iterable[Gate], evidence: Evidence) -> dict[str, Any]:
    """Every gate's result and whether all passed, as the model record keeps them."""
    results = [gate.judge(evidence) for gate in gates]
    return {"passed": all(r.passed for r in results), "results": [r.as_dict() for r in results]}


def without_champion(gate: Gate, found: float | None = None) -> GateResult:
    """A gate on the champion passes as long as there is none."""
    return GateResult(gate.name, True, found, None, "there is no champion yet to compare with")


def _direction(name: str | Metric, gate: Gate) -> int:
    """+1 where more is better, -1 where less is."""
    better = metric(name).greater_is_better
    if better is None:
        raise DefinitionError(
            f"{type(gate).__name__}('{name}') has no direction: {name} only describes",
            hint="Use at_least or at_most, which name a bound.",
        )
    return 1 if better else -1


def _check_margin(by: float, gate: Gate) -> None:
    if not (math.isfinite(by) and by >= 0):
        raise DefinitionError(f"{type(gate).__name__}(by={by!r}) must not be negative")


def _value(metrics: Mapping[str, MetricValue], name: str | Metric) -> float | None:
    found = metrics.get(str(name))
    return None if found is None or math.isnan(found.value) else found.value


def _seen_slices(
    slices: Iterable[SliceResult], name: str | Metric, min_rows: int
) -> Iterable[tuple[float, SliceResult]]:
    for one in slices:
        value = _value(one.metrics, name)
        if one.rows >= min_rows and value is not None:
            yield value, one


def _bound(sign: int) -> str:
    return "at least" if sign > 0 else "at most"


def _compared(gate: Gate, passed: bool, found: float, required: float, relation: str) -> GateResult:
    verb = "is" if passed else "is not"
    return GateResult(gate.name, passed, found, required, f"{found:.4g} {verb} {relation} {required:.4g}")


def _unseen(gate: Gate, message: str, required: float | None = None) -> GateResult:
    return GateResult(gate.name, False, None, required, message)
