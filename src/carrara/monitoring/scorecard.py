"""The score card of a model version: indicators of its life against the objectives of its agreement.

Computed from what is stored alone, at the moment it is asked for: what grows stale turns red by itself. What is not
known is neither met nor missed, and is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from carrara.core.clock import duration, parse_time
from carrara.core.errors import NotFoundError
from carrara.core.html import html_table
from carrara.evaluation.metrics import metric
from carrara.features.training_set import kept_training_set
from carrara.metadata.alerts import FIRING, AlertState, list_alerts
from carrara.metadata.deployments import current_deployments
from carrara.metadata.monitor_windows import SPAN, RecordedWindow, list_windows
from carrara.models.registry import ModelVersion, read_record
from carrara.monitoring.agreement import Agreement
from carrara.monitoring.run import read_result
from carrara.storage.stores import Stores

Stage = Literal["prototype", "train", "deploy", "predict"]


@dataclass(frozen=True)
class Indicator:
    """One thing that is looked at: whether its objective is met (None: not known), and what was found."""

    stage: Stage
    name: str
    met: bool | None
    said: str

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Scorecard:
    """All indicators of a version at a moment; `state` is red where one is missed, and green where all are met."""

    version: str
    at: datetime
    indicators: tuple[Indicator, ...]

    @property
    def state(self) -> str:
        met = [one.met for one in self.indicators]
        return "red" if False in met else "unknown" if None in met else "green"

    @property
    def scores(self) -> dict[str, float | None]:
        """The share of what is known that is met, by stage; None where nothing is known."""
        return {stage: _share(one.met for one in self.indicators if one.stage == stage) for stage in get_args(Stage)}

    def as_dict(self) -> dict[str, Any]:
        told = {"version": self.version, "at": self.at.isoformat(), "state": self.state, "scores": self.scores}
        return {**told, "indicators": [one.as_dict() for one in self.indicators]}

    def _repr_html_(self) -> str:
        rows = [(one.stage, one.name, one.met, one.said) for one in self.indicators]
        return html_table(f"{self.version} is {self.state}", ["stage", "indicator", "met", "found"], rows)


@dataclass(frozen=True)
class Known:
    """What is stored of a version: its record, what serves, its newest window with what was found, and its alerts."""

    record: Mapping[str, Any]
    data_is_kept: bool
    endpoints: Sequence[str]
    window: RecordedWindow | None
    result: Mapping[str, Any]
    alerts: Sequence[AlertState]


def scorecard(stores: Stores, agreement: Agreement, version: ModelVersion) -> Scorecard:
    """The score card of a version by the stores' clock."""
    known, at = _known(stores, version), stores.clock()
    found = [*_prototype(known), *_train(known, agreement, at), *_deploy(known, agreement)]
    return Scorecard(str(version), at, (*found, *_predict(known, agreement, at)))


def _known(stores: Stores, version: ModelVersion) -> Known:
    record = read_record(stores, version)
    windows = list_windows(stores.metadata, version.model, version.version)
    done = [one for one in windows if one.state != SPAN and one.result is not None]
    newest = max(done, key=lambda one: one.key.end, default=None)
    mine = (version.model, version.version)
    return Known(
        record=record,
        data_is_kept=kept_training_set(stores, version.model, record["datasets"]["training_set"]) is not None,
        endpoints=[one.endpoint for one in current_deployments(stores.metadata) if (one.model, one.version) == mine],
        window=newest,
        result=read_result(stores, newest) if newest is not None else {},
        alerts=[one for one in list_alerts(stores.metadata, version.model, open_only=True) if one.version == mine[1]],
    )


def _prototype(known: Known) -> Iterator[Indicator]:
    record = known.record
    owner = record["owner"] or record["configuration"].get("owner")
    about = record["description"] or record["configuration"].get("description")
    missing = [name for name, text in {"an owner": owner, "a description": about}.items() if not text]
    said = f"it has no {' and no '.join(one.partition(' ')[2] for one in missing)}" if missing else f"{owner} answers"
    yield Indicator("prototype", "documented", not missing, said)
    yield _beats_baseline(record["metrics"])
    overlap = record["summary"].get("overlap")
    seen = None if overlap is None else not overlap["suspicious"]
    said = "not known" if overlap is None else f"{overlap['share']:.1%} of the test rows are training rows"
    yield Indicator("prototype", "judged on rows that it has not seen", seen, said)


def _beats_baseline(metrics: Mapping[str, Any]) -> Indicator:
    name = next(iter(metrics["baseline"]), None)
    if name is None or name not in metrics["test"]:
        return Indicator("prototype", "better than its baseline", None, "no baseline was measured")
    ours, theirs = metrics["test"][name], metrics["baseline"][name]
    met = _is_better(name, ours, theirs)
    said = f"{name} {ours['value']:.4g}, baseline {theirs['value']:.4g}"
    return Indicator("prototype", "better than its baseline", met, said)


def _is_better(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool | None:
    """Whether the whole interval is on the better side of the baseline's value."""
    try:
        better = metric(name).greater_is_better
    except NotFoundError:  # a function of the user's, whose direction the record does not tell
        return None
    if better is None or None in (ours["low"], ours["high"], theirs["value"]):
        return None
    return bool(ours["low"] > theirs["value"] if better else ours["high"] < theirs["value"])


def _train(known: Known, agreement: Agreement, at: datetime) -> Iterator[Indicator]:
    kept, trained = known.record["datasets"]["training_set"], parse_time(known.record["ended_at"])
    imported = "imported" in known.record["summary"]
    until = parse_time(kept["until"]) if kept is not None and not imported else None
    yield _young("train", "its data are fresh", until, agreement.data_within, at, "the newest label is of")
    yield _young("train", "trained not long ago", trained, agreement.trained_within, at, "trained on")
    code = known.record["code"]
    if imported:
        met, said = False, "it was trained elsewhere"
    elif not known.data_is_kept:
        met, said = False, "its training set is no longer there"
    elif code.get("revision") is None or code.get("uncommitted"):
        met, said = True, "its data and definitions are kept; its code is not committed"
    else:
        met, said = True, f"its data and definitions are kept; revision {code['revision'][:10]}"
    yield Indicator("train", "reproducible", met, said)


def _deploy(known: Known, agreement: Agreement) -> Iterator[Indicator]:
    gates = known.record["gates"]
    failed = [one["message"] for one in gates["results"] if not one["passed"]]
    said = failed[0] if failed else f"{len(gates['results'])} gates"
    yield Indicator("deploy", "its gates pass", bool(gates["passed"]), said)
    trial = gates.get("trial")
    if trial is None:
        yield Indicator("deploy", "safe to serve", None, "nobody tried to serve it: gates=(carrara.safe_to_serve(),)")
    else:
        yield Indicator("deploy", "safe to serve", not trial["reason"], trial["reason"] or f"{trial['rows']} rows")
    if agreement.approved:
        last = known.record["approvals"][-1] if known.record["approvals"] else None
        met = last is not None and last["decision"] == "approved"
        yield Indicator("deploy", "approved", met, f"{last['decision']} by {last['by']}" if last else "by nobody")


def _predict(known: Known, agreement: Agreement, at: datetime) -> Iterator[Indicator]:
    if not known.endpoints and known.window is None:
        yield Indicator("predict", "serves", None, "no endpoint serves it, and nobody has asked it")
        return
    end = known.window.key.end if known.window is not None else None
    yield _young("predict", "watched", end, agreement.watched_within, at, "the newest window ends")
    yield _accurate(known.result)
    firing = [one.rule for one in known.alerts if one.state == FIRING]
    said = f"firing: {', '.join(firing)}" if firing else "nothing fires"
    yield Indicator("predict", "no alert", not firing if known.window else None, said)
    if agreement.p99_ms is not None:
        yield _fast(known.result, agreement.p99_ms)


def _accurate(result: Mapping[str, Any]) -> Indicator:
    metrics = result.get("metrics")
    if not metrics:
        return Indicator("predict", "as good as it was evaluated", None, "no outcome is known")
    name, worse = next(iter(metrics)), result.get("worse") or []
    said = f"for certain worse: {', '.join(worse)}" if worse else f"{name} {metrics[name]['value']:.4g} live"
    if (result.get("evaluation") or {}).get(name, {}).get("value") is None:
        return Indicator("predict", "as good as it was evaluated", None, "it was not evaluated here")
    return Indicator("predict", "as good as it was evaluated", not worse, said)


def _fast(result: Mapping[str, Any], most: float) -> Indicator:
    seconds = (result.get("latency_seconds") or {}).get("p99")
    met = None if seconds is None else seconds * 1_000 <= most
    said = "not known" if seconds is None else f"p99 {seconds * 1_000:.3g} ms, at most {most:g}"
    return Indicator("predict", "fast", met, said)


def _young(stage: Stage, name: str, moment: datetime | None, within: str, at: datetime, what: str) -> Indicator:
    if moment is None:
        return Indicator(stage, name, None, "not known")
    age = max(at - moment, timedelta(0))
    said = f"{what} {moment:%Y-%m-%d}, {age.days} days ago, at most {within}"
    return Indicator(stage, name, age <= duration(within), said)


def _share(found: Iterable[bool | None]) -> float | None:
    known = [met for met in found if met is not None]
    return sum(known) / len(known) if known else None
