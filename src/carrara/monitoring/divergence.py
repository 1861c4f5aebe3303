"""Divergence: how far the answers of a candidate are from those that were given to the same requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import DataError
from carrara.core.html import html_table
from carrara.evaluation.metrics import MAIN_METRICS, Kind, measure
from carrara.monitoring.outcomes import are_outcomes, encode_outcomes

Array = npt.NDArray[Any]

SAME = 1e-6
_SHARES = (50, 95, 99)
_FARTHEST = 10


@dataclass(frozen=True)
class Divergence:
    """A candidate's answers against the given ones, row by row, and against what then happened.

    `agreed` is the share of rows that are the same to a millionth, `decided_otherwise` of those that a threshold of
    0.5, or the most probable class, decides otherwise. `metrics` has `candidate` and `given` by name, on
    the same rows, whose outcomes are known. `farthest` are the rows that are farthest apart.
    """

    candidate: str
    given_by: dict[str, int]
    rows: int
    agreed: float
    decided_otherwise: float | None
    mean_candidate: float
    mean_given: float
    difference: dict[str, float]
    correlation: float | None
    outcomes: int
    metrics: dict[str, dict[str, Any]]
    farthest: list[dict[str, Any]]

    def _repr_html_(self) -> str:
        rows = [("rows", self.rows), ("agreed", self.agreed), *self.difference.items()]
        return html_table(f"{self.candidate} against what was answered", ["", ""], rows)


@dataclass(frozen=True)
class Pairs:
    """Rows with `prediction_id`, `event_time`, `version`, `given` and `candidate` (numbers, or lists of several
    classes), and optionally `outcome`."""

    model: str
    version: int
    kind: Kind
    classes: tuple[str, ...]
    rows: pl.DataFrame


def divergence(pairs: Pairs, names: Sequence[str] = ()) -> Divergence:
    """Compare the answers of each row; DataError where there is none."""
    rows = pairs.rows
    if rows.is_empty():
        raise DataError(f"there is no request that {pairs.model}@{pairs.version} could be compared on")
    ours, theirs = _matrix(rows["candidate"]), _matrix(rows["given"])
    apart = np.abs(ours - theirs).max(axis=1)
    one, other = ours.max(axis=1), theirs.max(axis=1)
    known = rows.with_row_index("place").drop_nulls("outcome") if "outcome" in rows.columns else rows.clear()
    return Divergence(
        candidate=f"{pairs.model}@{pairs.version}",
        given_by={f"{pairs.model}@{version}": count for version, count in _counts(rows["version"]).items()},
        rows=rows.height,
        agreed=float((apart <= SAME + SAME * np.abs(theirs).max(axis=1)).mean()),
        decided_otherwise=_decided_otherwise(pairs.kind, ours, theirs),
        mean_candidate=float(one.mean()),
        mean_given=float(other.mean()),
        difference={
            **{f"p{share}": float(np.percentile(apart, share)) for share in _SHARES},
            "max": float(apart.max()),
        },
        correlation=float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else None,
        outcomes=known.height,
        metrics=_metrics(pairs, known, names or MAIN_METRICS[pairs.kind]),
        farthest=_farthest(rows, apart),
    )


def _metrics(pairs: Pairs, known: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    if known.is_empty() or pairs.kind == "ranking":  # a sample of requests holds no whole queries
        return {}
    labels = encode_outcomes(known["outcome"], pairs.kind, pairs.classes)
    there = are_outcomes(labels)
    known, labels = known.filter(there), labels[there.to_numpy()]
    found: dict[str, dict[str, Any]] = {}
    for side in ("candidate", "given"):
        scores = np.array(known[side].to_list(), np.float64)
        for name, value in measure(labels, scores, tuple(names), kind=pairs.kind).items():
            found.setdefault(name, {})[side] = value.as_dict()
    return found


def _decided_otherwise(kind: Kind, ours: Array, theirs: Array) -> float | None:
    if kind == "binary":
        return float(((ours[:, 0] >= 0.5) != (theirs[:, 0] >= 0.5)).mean())
    return float((ours.argmax(axis=1) != theirs.argmax(axis=1)).mean()) if kind == "multiclass" else None


def _farthest(rows: pl.DataFrame, apart: Array) -> list[dict[str, Any]]:
    places = np.argsort(-apart, kind="stable")[:_FARTHEST]
    chosen = rows[places.tolist()].select("prediction_id", "event_time", "given", "candidate")
    return [{**row, "event_time": _text(row["event_time"])} for row in chosen.iter_rows(named=True)]


def _text(moment: datetime) -> str:
    return moment.isoformat()


def _counts(versions: pl.Series) -> Mapping[int, int]:
    found, counts = np.unique(versions.to_numpy(), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _matrix(values: pl.Series) -> Array:
    """Shape (rows, classes), or (rows, 1)."""
    found = np.array(values.to_list(), np.float64)
    return found.reshape(len(found), -1)
