"""What is found of one window of a version's predictions: quality, drift and its effect, freshness, parity.

Pure of schedules and alerts: rows and outcomes in, plain data and a profile out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from carrara.core.errors import CarraraError
from carrara.data.distances import noise
from carrara.data.rows import every_nth
from carrara.monitoring.domain import domain_shift
from carrara.monitoring.drift import ReferenceDistribution, drift_of, one_score
from carrara.monitoring.effect import MOST_ROWS, Effect, effects
from carrara.monitoring.judge import Judge
from carrara.monitoring.outcomes import LABEL
from carrara.monitoring.parity import compare_rows, service_of
from carrara.monitoring.profile import ColumnProfile, Profile, profile_table
from carrara.monitoring.sampling import SAMPLED
from carrara.monitoring.window_estimate import estimate_window

SCORE = "__score"
_MOST_EFFECTS = 40
_SAMPLED_ROWS = 4_000
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Before:
    """The profiles that a window is compared with beside training's; None where there is none."""

    last: Profile | None = None
    week: Profile | None = None


def compute_window(
    judge: Judge, rows: pl.LazyFrame, outcomes: pl.DataFrame, start: datetime, end: datetime, before: Before
) -> tuple[dict[str, Any], Profile]:
    """What is found in a window, as plain data, and its profile.

    `rows` are the logged predictions of the window, each once, shadow answers among them; `outcomes` hold
    `prediction_id`, LABEL and slices. Raises DataError for a window without rows: it has no distribution.
    """
    fair = rows.filter(pl.col(SAMPLED) == "rate")
    there = fair.collect_schema().names()
    wanted = [*dict.fromkeys((judge.output, "event_time", *(name for name in judge.rule.beside if name in there)))]
    answers = fair.select("prediction_id", "arm", "shadow", "latency_seconds", "endpoint", *wanted).collect()
    answers = answers.join(outcomes.unique("prediction_id"), on="prediction_id", how="left", maintain_order="left")
    known = answers.drop_nulls(LABEL)
    profile = _profile(judge, fair, answers)
    sample = fair.select(c for c in there if c != LABEL).collect() if answers.height <= _SAMPLED_ROWS else _drawn(fair)
    drift = _drift(judge, profile, sample, before)
    metrics, estimate = judge.metrics(known), estimate_window(judge, answers, sample)
    result = {
        "model": judge.version.model,
        "version": judge.version.version,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "predictions": answers.height,
        "outcomes": known.height,
        "metrics": metrics,
        "evaluation": judge.evaluation,
        "worse": judge.worse_than_evaluated(metrics),
        "estimated": estimate,
        "estimated_worse": judge.worse_than_evaluated(estimate),
        "slices": judge.slices(known),
        "arms": _arms(judge, answers),
        "drift": drift,
        "score_drift": _score_drift(judge, profile, before),
        "multivariate": _multivariate(judge, sample, end - start),
        "freshness": _freshness(fair, there),
        "fallbacks": _fallbacks(fair),
        "latency_seconds": _latency(answers),
        "parity": _parity(judge, sample),
    }
    return result, profile


def _profile(judge: Judge, rows: pl.LazyFrame, answers: pl.DataFrame) -> Profile:
    there = rows.collect_schema()
    profile = profile_table(rows, [name for name in judge.features if name in there], judge.features)
    scores = ColumnProfile()
    scores.add(pl.Series(one_score(judge.scores_of(answers))), judge.scores)
    profile.columns[SCORE] = scores
    return profile


def _drawn(rows: pl.LazyFrame) -> pl.DataFrame:
    """Some thousand rows, the same ones each time."""
    return every_nth(rows, rows.select(pl.len()).collect().item() // _SAMPLED_ROWS)


def _drift(judge: Judge, profile: Profile, sample: pl.DataFrame, before: Before) -> list[dict[str, Any]]:
    """Every feature against training, what changes the model's output most first."""
    found = [
        _feature(name, reference, profile.columns[name], judge, before)
        for name, reference in judge.features.items()
        if name in profile.columns
    ]
    changed = _effects(judge, sample, found)
    for one in found:
        effect = changed.get(one["feature"], Effect(0.0, 0.0, 0.0) if changed else None)
        one["effect"] = None if effect is None else effect.change
        one["effect_shift"] = None if effect is None else effect.shift
        one["effect_deviations"] = None if effect is None else effect.deviations
    return sorted(found, key=_rank)


def _rank(one: Mapping[str, Any]) -> tuple[float, float, float]:
    """By effect, then by distance weighted by importance; of what changes nothing, the farthest is last."""
    weighted = one["psi"] * (one["importance"] or 0.0)
    return (-(one["effect"] or 0.0), -weighted, one["psi"])


def _feature(
    name: str, reference: ReferenceDistribution, column: ColumnProfile, judge: Judge, before: Before
) -> dict[str, Any]:
    counts = column.counts if column.counts is not None else column.counts_in(reference)
    drift = drift_of(name, reference.counts, counts)
    low_high = judge.ranges.get(name)
    unseen = None if reference.edges is not None else float(counts[-2]) / max(column.rows, 1)
    return {
        **drift.as_dict(),
        "by_chance": noise("psi", len(counts), float(reference.counts.sum()), column.rows),
        "importance": judge.importance.get(name, 0.0),
        "out_of_range": column.outside(*low_high) if low_high is not None else unseen,
        "psi_last": _psi_against(before.last, name, column),
        "psi_week": _psi_against(before.week, name, column),
    }


def _psi_against(other: Profile | None, name: str, column: ColumnProfile) -> float | None:
    then = other.columns.get(name) if other is not None else None
    if then is None or not then.rows or (then.texts is None) != (column.texts is None):
        return None
    reference = then.distribution()
    return drift_of(name, reference.counts, column.counts_in(reference)).psi


def _effects(judge: Judge, sample: pl.DataFrame, drifts: list[dict[str, Any]]) -> dict[str, Effect]:
    """The effect of the features that have moved by more than chance; empty where the training set is gone."""
    moved = [one for one in drifts if one["psi"] > one["by_chance"]]
    moved.sort(key=lambda one: -(one["psi"] * (one["importance"] or 0.0)))
    training = judge.training
    if training is None or sample.is_empty():
        return {}
    try:
        names = [one["feature"] for one in moved[:_MOST_EFFECTS]]
        return effects(judge.score, training.head(MOST_ROWS), sample, names) or {"": Effect(0.0, 0.0, 0.0)}
    except CarraraError:
        return {}


def _score_drift(judge: Judge, profile: Profile, before: Before) -> dict[str, Any]:
    column, evaluated = profile.columns[SCORE], {}
    if judge.scores is not None:
        counts = column.counts if column.counts is not None else column.counts_in(judge.scores)
        by_chance = noise("psi", len(counts), float(judge.scores.counts.sum()), column.rows)
        evaluated = {**drift_of(judge.output, judge.scores.counts, counts).as_dict(), "by_chance": by_chance}
    return {
        "psi": None,
        **evaluated,
        "psi_last": _psi_against(before.last, SCORE, column),
        "psi_week": _psi_against(before.week, SCORE, column),
    }


def _multivariate(judge: Judge, sample: pl.DataFrame, length: timedelta) -> dict[str, Any] | None:
    if judge.training is None:
        return None
    names = [name for name in judge.features if name in sample.columns]
    shift = domain_shift(judge.training, sample, names)
    return None if shift is None else replace(shift, usual=judge.usual_auc(length)).as_dict()


def _arms(judge: Judge, answers: pl.DataFrame) -> list[dict[str, Any]]:
    """Each part of a deployment that answered, where there is more than one, by itself."""
    found = []
    groups = answers.group_by("endpoint", "arm", "shadow", maintain_order=True)
    for (endpoint, arm, shadow), rows in groups:
        known = rows.drop_nulls(LABEL)
        found.append(
            {
                "endpoint": endpoint,
                "arm": arm,
                "shadow": shadow,
                "predictions": rows.height,
                "outcomes": known.height,
                "metrics": judge.metrics(known),
                "latency_seconds": _latency(rows),
            }
        )
    return found if len(found) > 1 else []


def _freshness(rows: pl.LazyFrame, columns: list[str]) -> dict[str, dict[str, float | None]]:
    """How old what each view gave was at its prediction, in seconds."""
    views = [name for name in columns if name.endswith(":event_time")]
    if not views:
        return {}
    ages = [(pl.col("event_time") - pl.col(name)).dt.total_microseconds() / 1e6 for name in views]
    found = rows.select(
        *(age.quantile(0.5).alias(f"{name} median") for name, age in zip(views, ages, strict=True)),
        *(age.quantile(0.95).alias(f"{name} p95") for name, age in zip(views, ages, strict=True)),
        *(pl.col(name).is_null().mean().alias(f"{name} absent") for name in views),
    ).collect()
    return {
        name.removesuffix(":event_time"): {part: found[f"{name} {part}"][0] for part in ("median", "p95", "absent")}
        for name in views
    }


def _fallbacks(rows: pl.LazyFrame) -> dict[str, int]:
    """How many predictions took their features from where."""
    counts = rows.group_by("features_from").agg(pl.len().alias("rows")).sort("features_from").collect()
    return dict(counts.iter_rows())


def _latency(rows: pl.DataFrame) -> dict[str, float] | None:
    times = rows["latency_seconds"].drop_nulls().to_numpy()
    return {name: float(np.quantile(times, share)) for name, share in _QUANTILES.items()} if times.size else None


def _parity(judge: Judge, sample: pl.DataFrame) -> dict[str, Any] | None:
    found = compare_rows(judge.stores, service_of(judge.stores, judge.version), sample)
    return None if found is None else found.as_dict()
