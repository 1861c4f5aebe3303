"""The safety of a model's deployments: which safeguards stand between a bad version and its users, as a score.

Of what is declared, and of how the version that serves came to serve. What is not known yet counts neither way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from carrara.core.html import html_table
from carrara.metadata.deployments import Deployment, current_deployments
from carrara.metadata.endpoint_events import EndpointEvent, list_events
from carrara.metadata.store import Metadata
from carrara.monitoring.agreement import Agreement
from carrara.monitoring.monitor import Monitor
from carrara.training.model import Model

_GATES = (
    ("the data are validated", {"data_validated"}, "gates=(carrara.data_validated(),)"),
    ("the features are validated", {"features_validated"}, "gates=(carrara.features_validated(),)"),
    (
        "a version is held against a bar",
        {"at_least", "at_most", "better_than_baseline"},
        'gates=(carrara.better_than_baseline("roc_auc"),)',
    ),
    (
        "a version is held against the champion",
        {"not_worse_than_champion"},
        'gates=(carrara.not_worse_than_champion("roc_auc"),)',
    ),
    (
        "a version is judged slice by slice",
        {
            "no_slice_below",
            "no_slice_above",
            "no_slice_worse_than_champion",
            "gap_at_most",
            "gap_not_wider_than_champion",
        },
        'gates=(carrara.no_slice_below("roc_auc", 0.6),)',
    ),
    ("it held before", {"backtested"}, 'gates=(carrara.backtested("roc_auc", 0.6),)'),
    ("its report is complete", {"fully_reported"}, "gates=(carrara.fully_reported(),)"),
    ("a version is tried in a server first", {"safe_to_serve"}, "gates=(carrara.safe_to_serve(),)"),
    ("it answers without a feature", {"nulls_handled"}, "gates=(carrara.nulls_handled(),)"),
    ("a version has to be fast", {"latency_at_most"}, "gates=(carrara.latency_at_most(5),)"),
)
"""The safeguards that gates are, each with the gates that it is, and how it is declared."""

_TRIED = ("canary", "shadow", "split", "promoted")


@dataclass(frozen=True)
class Safeguard:
    """One safeguard: whether it is there (None: not known yet), and what puts it there, or what was found."""

    name: str
    there: bool | None
    said: str


@dataclass(frozen=True)
class Safety:
    """All safeguards of a model; `score` is the share of those that are there, of what is known."""

    model: str
    safeguards: tuple[Safeguard, ...]

    @property
    def score(self) -> float:
        known = [one.there for one in self.safeguards if one.there is not None]
        return sum(known) / len(known)

    def as_dict(self) -> dict[str, Any]:
        return {"model": self.model, "score": self.score, "safeguards": [dict(vars(one)) for one in self.safeguards]}

    def _repr_html_(self) -> str:
        rows = [(one.name, one.there, one.said) for one in self.safeguards]
        return html_table(f"{self.model}: {self.score:.0%} safe", ["safeguard", "there", "found"], rows)


def safety(metadata: Metadata, model: Model, monitor: Monitor | None, agreement: Agreement | None) -> Safety:
    """The safeguards of a model, as it is declared now and as its versions serve now."""
    declared = {str(gate.spec()["gate"]) for gate in model.gates}
    served = [one for one in current_deployments(metadata) if one.model == model.name and one.role == "primary"]
    found = [*_gates(declared), *_watching(monitor, agreement), *_deploying(metadata, served)]
    return Safety(model.name, tuple(found))


def _gates(declared: Collection[str]) -> Iterator[Safeguard]:
    for name, kinds, how in _GATES:
        there = not kinds.isdisjoint(declared)
        yield Safeguard(name, there, ", ".join(sorted(kinds.intersection(declared))) if there else how)


def _watching(monitor: Monitor | None, agreement: Agreement | None) -> Iterator[Safeguard]:
    watched = monitor is not None and monitor.schedule is not None
    said = "carrara.Monitor(…), with a schedule"
    if monitor is not None and watched:
        said = f"{monitor.schedule}, in windows of {monitor.window}"
    yield Safeguard("what it answers is watched", watched, said)
    rules = len(monitor.alerts) if monitor is not None else 0
    yield Safeguard("somebody is told", rules > 0, f"{rules} alerts" if rules else "carrara.Monitor(…, alerts=…)")
    approved = agreement is not None and agreement.approved
    said = "a person approves" if approved else "carrara.Agreement(…, approved=True)"
    yield Safeguard("a person has to approve", approved, said)


def _deploying(metadata: Metadata, served: Sequence[Deployment]) -> Iterator[Safeguard]:
    """How what serves came to serve; a first version had nothing to be tried beside, and nothing to come back to."""
    tried: list[bool] = []
    comes_back: list[bool] = []
    for one in served:
        events = list_events(metadata, one.endpoint)
        if any((event.model, event.version) != (one.model, one.version) for event in events):
            tried.append(_was_tried(one, events))
            comes_back.append(one.until is not None)
    how = "carrara deploy … --canary 10%, or --shadow"
    yield Safeguard("a version is tried beside the one before", *_all(tried, "every primary was", how))
    how = "carrara deploy without --no-watch"
    yield Safeguard("the version before comes back by itself", *_all(comes_back, "every primary is watched", how))


def _was_tried(served: Deployment, events: Sequence[EndpointEvent]) -> bool:
    mine = (served.model, served.version)
    return any(one.kind in _TRIED and (one.model, one.version) == mine for one in events)


def _all(each: Sequence[bool], said: str, how: str) -> tuple[bool | None, str]:
    if not each:
        return None, "no second version has been deployed"
    return all(each), said if all(each) else how
