"""A configuration of an evaluation, as YAML, TOML or plain data: which version on which rows, by which metrics, slices
and gates. What it leaves out is as the model was declared."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError, NotFoundError
from carrara.core.plugins import require
from carrara.evaluation import flip_gates, gap_gates, gates, paired_slices, readiness_gates, serving_gates
from carrara.evaluation.gates import Gate
from carrara.evaluation.metrics import Metric, metric
from carrara.evaluation.slicing import Sliced
from carrara.training.model import Model

GATES: Mapping[str, Callable[..., Gate]] = {
    name: getattr(room, name)
    for room, names in {
        gates: (
            "at_least",
            "at_most",
            "better_than_baseline",
            "no_slice_above",
            "no_slice_below",
            "not_worse_than_champion",
        ),
        paired_slices: ("no_slice_worse_than_champion",),
        gap_gates: ("gap_at_most", "gap_not_wider_than_champion"),
        flip_gates: ("flips_at_most", "flips_from_champion_at_most"),
        serving_gates: ("safe_to_serve", "latency_at_most", "size_at_most", "data_validated"),
        readiness_gates: ("features_validated", "nulls_handled", "fully_reported", "backtested"),
    }.items()
    for name in names
}


@dataclass(frozen=True)
class EvaluationConfig:
    """`model` and `baseline` are versions, `NAME@3` or `NAME@ALIAS`: gates on the champion look at the baseline, by
    default the model's champion. The rows are the version's test rows, or with `since` or `until` those of the
    label's dataset in that time, with their features as they were known then. `gates` are plain data, as a record has
    them: `{"gate": "at_least", "metric": "roc_auc", "value": 0.7}`. What is None is as the model was declared.
    """

    model: str
    baseline: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metrics: Sequence[str] | None = None
    slices: Sequence[Sliced] | None = None
    gates: Sequence[Mapping[str, Any]] | None = None
    threshold: float | None = None
    intervals: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any], where: str = "the evaluation") -> EvaluationConfig:
        """Plain data, checked; ConfigurationError names the key."""
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigurationError(str(NotFoundError("key", str(name), known, where=where)))
        if not isinstance(data.get("model"), str):
            raise ConfigurationError(f"{where} names no model", hint="model: late@3")
        slices = data.get("slices")
        read = {
            **data,
            "since": _moment(data.get("since"), where),
            "until": _moment(data.get("until"), where),
            "slices": [tuple(one) if isinstance(one, list) else one for one in slices] if slices is not None else None,
        }
        return cls(**read)

    def applied(self, model: Model) -> Model:
        """The model's definition, judged as this says."""
        own = {str(one): one for one in model.measured if isinstance(one, Metric)}
        said: dict[str, Any] = {
            "metrics": None if self.metrics is None else tuple(own.get(name, name) for name in self.metrics),
            "slices": None if self.slices is None else tuple(self.slices),
            "gates": None if self.gates is None else tuple(gate_of(one, own) for one in self.gates),
            "threshold": self.threshold,
            "intervals": self.intervals,
            "seed": self.seed,
        }
        return replace(model, **{name: value for name, value in said.items() if value is not None})


def read_evaluation(path: Path) -> dict[str, Any]:
    """The plain data of a file in YAML or TOML; ConfigurationError where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if path.suffix.lower() == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path} is no TOML: {error}") from None
    yaml = require("yaml", extra="report", purpose=f"reading {path.name}")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no keys", hint="model: late@3")
    return found


def gate_of(spec: Mapping[str, Any], own: Mapping[str, Metric] | None = None) -> Gate:
    """A gate from what its `spec()` says; `own` are metrics of the user's, by name.

    >>> gate_of({"gate": "at_least", "metric": "roc_auc", "value": 0.7}).name
    'roc_auc at least 0.7'
    """
    name = str(spec.get("gate"))
    if name not in GATES:
        raise NotFoundError("gate", name, GATES)
    said = {key: value for key, value in spec.items() if key != "gate"}
    if isinstance(said.get("metric"), str):
        said["metric"] = (own or {}).get(said["metric"]) or metric(said["metric"]).name
    takes = signature(GATES[name]).parameters
    for key in said:
        if key not in takes:
            raise NotFoundError("parameter", key, takes, where=f"the gate '{name}'")
    try:
        return GATES[name](**said)
    except TypeError as error:
        raise ConfigurationError(f"the gate '{name}' is not complete: {error}") from None


def _moment(value: Any, where: str) -> datetime | None:
    """A time in UTC: YAML and TOML read some themselves, as days or without a zone."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigurationError(
            f"'{value}' in {where} is no time", hint="2026-03-01, or 2026-03-01T12:00:00Z"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
