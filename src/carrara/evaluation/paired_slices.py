"""Paired differences slice by slice, and the gate on them: no slice may be worse than the champion's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DefinitionError
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import ROUNDING, GateResult, without_champion
from carrara.evaluation.intervals import deviations
from carrara.evaluation.jackknife import Method
from carrara.evaluation.metrics import Kind, Metric, metric
from carrara.evaluation.paired import PairedDifference, paired_differences
from carrara.evaluation.slices import Column, with_crosses

MOST_SLICES = 50
"""Of a column, the largest; a difference in less rows than these is hardly told from chance."""


def paired_slices(
    labels: npt.NDArray[Any],
    one: npt.NDArray[Any],
    other: npt.NDArray[Any],
    columns: Mapping[str, Column],
    metrics: Sequence[str | Metric],
    *,
    crosses: Iterable[Sequence[str]] = (),
    min_rows: int = 200,
    kind: Kind = "binary",
    threshold: float = 0.5,
    weights: npt.NDArray[Any] | None = None,
    groups: npt.NDArray[Any] | None = None,
    seed: int = 0,
    intervals: Method = "bootstrap",
) -> dict[str, dict[str, PairedDifference]]:
    """The differences of two models in every slice of `min_rows` rows, of the columns and of their `crosses`, as
    `column = value` → metric → difference."""
    found = {}
    for name, value, places in largest_slices(columns, crosses, min_rows):
        found[f"{name} = {value}"] = paired_differences(
            labels[places],
            one[places],
            other[places],
            metrics,
            kind=kind,
            threshold=threshold,
            weights=None if weights is None else np.asarray(weights)[places],
            groups=None if groups is None else groups[places],
            seed=seed,
            intervals=intervals,
        )
    return found


def largest_slices(
    columns: Mapping[str, Column], crosses: Iterable[Sequence[str]], min_rows: int
) -> Iterator[tuple[str, str, npt.NDArray[np.intp]]]:
    """Column, value and places of the largest slices of each column and cross, those of `min_rows` rows."""
    for name, codes in with_crosses(columns, crosses):
        counts = np.bincount(codes.places, minlength=len(codes.values))
        for place in np.argsort(-counts, kind="stable")[:MOST_SLICES].tolist():
            if counts[place] >= min_rows:
                yield name, codes.values[place], np.flatnonzero(codes.places == place)


@dataclass(frozen=True)
class NoSliceWorseThanChampion:
    """No slice of at least `min_rows` rows has a metric that is worse than the champion's there by more than `by`.

    Both are asked on the same rows. What chance alone may have made in one of so many slices is not held against the
    model: the intervals are as wide as 95 % for all slices together asks (Bonferroni). Passes without a champion.
    """

    metric: str | Metric
    by: float = 0.0
    min_rows: int = 200

    def __post_init__(self) -> None:
        if metric(self.metric).greater_is_better is None:
            raise DefinitionError(
                f"no_slice_worse_than_champion('{self.metric}') has no direction: {self.metric} only describes",
                hint="Use a metric that is better or worse, such as roc_auc or log_loss.",
            )
        if not (math.isfinite(self.by) and self.by >= 0):
            raise DefinitionError(f"no_slice_worse_than_champion(by={self.by!r}) must not be negative")

    @property
    def name(self) -> str:
        margin = f" by {self.by:g}" if self.by else ""
        return f"no slice of {self.min_rows:,} rows with {self.metric} worse than the champion's{margin}"

    def spec(self) -> dict[str, Any]:
        return {
            "gate": "no_slice_worse_than_champion",
            "metric": str(self.metric),
            "by": self.by,
            "min_rows": self.min_rows,
        }

    def judge(self, evidence: Evidence) -> GateResult:
        if evidence.champion is None:
            return without_champion(self)
        seen = {slice_: pair for slice_, pair in self._pairs(evidence) if pair.rows >= self.min_rows}
        if not seen:
            said = f"no slice of at least {self.min_rows:,} rows has a {self.metric} of both on the same rows"
            return GateResult(self.name, False, None, None, said)
        sign = 1 if metric(self.metric).greater_is_better else -1
        wider = deviations(len(seen)) / deviations()
        best = {slice_: _best(pair, sign, wider) for slice_, pair in seen.items()}
        worst = min(best, key=lambda slice_: best[slice_])
        pair = seen[worst]
        said = f"the worst of {len(seen)} slices, {worst} ({pair.rows:,} rows), has {self.metric} {pair.other:.4g},"
        said += f" {pair.difference:+.4g} of the champion's {pair.one:.4g}, at best {sign * best[worst]:+.4g}"
        passed = best[worst] >= -self.by - ROUNDING
        return GateResult(self.name, passed, pair.other, pair.one - sign * self.by, said)

    def _pairs(self, evidence: Evidence) -> Iterator[tuple[str, PairedDifference]]:
        for slice_, pairs in (evidence.paired_slices or {}).items():
            pair = pairs.get(str(self.metric))
            if pair is not None and not math.isnan(pair.low):
                yield slice_, pair


def _best(pair: PairedDifference, sign: int, wider: float) -> float:
    """The difference in the metric's good direction, as good as chance allows it to be."""
    reach = pair.high - pair.difference if sign > 0 else pair.difference - pair.low
    return sign * pair.difference + wider * reach


no_slice_worse_than_champion = NoSliceWorseThanChampion
