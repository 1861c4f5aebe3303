"""The step of monitoring: every model that serves is watched, and what its alerts ask for is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from carrara.core.definitions import Definitions
from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.progress import Progress
from carrara.metadata.alerts import AlertState, list_alerts
from carrara.metadata.deployments import current_deployments, deployments_of
from carrara.metadata.runs import run
from carrara.models.address import ModelAddress
from carrara.models.registry import ModelVersion, list_models, resolve
from carrara.monitoring.alert import Alert
from carrara.monitoring.alerting import Standing, standing
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.run import Ran, read_judged, run_monitor, versions_with_predictions
from carrara.pipelines.deploy import deploy
from carrara.pipelines.train import train
from carrara.storage.stores import Stores


@dataclass(frozen=True)
class Followed:
    """What an alert has led to: `did` says what, or `error` why it did not work."""

    alert: AlertState
    then: str
    did: str
    error: str | None = None


@dataclass(frozen=True)
class Monitored:
    """One run of a monitor over the versions that have predictions."""

    model: str
    ran: tuple[Ran, ...]
    followed: tuple[Followed, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "versions": [
                {
                    "version": one.version,
                    "computed": [key.start.isoformat() for key in one.computed],
                    "failed": [{"start": key.start.isoformat(), "error": error} for key, error in one.failed],
                    "firing": [state.as_dict() for _, state in one.begun],
                }
                for one in self.ran
            ],
            "followed": [{"rule": f.alert.rule, "then": f.then, "did": f.did, "error": f.error} for f in self.followed],
        }


def monitors(stores: Stores, definitions: Definitions) -> list[Monitor]:
    """The declared monitors, and for every model that serves without one the usual one."""
    declared: dict[str, Monitor] = definitions.of_kind("monitor")
    serving = sorted({deployment.model for deployment in current_deployments(stores.metadata)})
    return [*declared.values(), *(Monitor(name) for name in serving if name not in declared)]


def monitor_of(definitions: Definitions, model: str) -> Monitor:
    """The declared monitor of a model, or the usual one."""
    declared: dict[str, Monitor] = definitions.of_kind("monitor")
    return declared.get(model) or Monitor(model)


def run_monitoring(stores: Stores, definitions: Definitions, monitor: Monitor) -> Monitored:
    """Compute what has changed of the windows of every version of a model, tell what fires, and do what follows."""
    numbers = versions_with_predictions(stores, monitor.name)
    if not numbers:
        resolve(stores, monitor.name)
        return Monitored(monitor.name, (), ())
    with run(stores.metadata, "monitor", monitor.name, {"versions": numbers}):
        newest = _serving(stores, monitor.name, numbers)
        ran = tuple(
            run_monitor(stores, monitor, resolve(stores, ModelAddress(monitor.name, number)), alerts=number in newest)
            for number in numbers
        )
    followed = tuple(
        _follow(stores, definitions, monitor.name, alert, state)
        for one in ran
        for alert, state in one.begun
        if alert.then
    )
    return Monitored(monitor.name, ran, followed)


def would_fire(stores: Stores, monitor: Monitor, version: ModelVersion) -> list[Standing]:
    """How every rule stands after the windows that are computed; nothing is told, done or written down."""
    judged = read_judged(stores, version, monitor.length, closed_only=True)
    return [standing(alert, judged) for alert in monitor.alerts]


def _serving(stores: Stores, model: str, numbers: Sequence[int]) -> list[int]:
    """The versions whose alerts matter: those that are deployed, or the newest with predictions."""
    deployed = [d.version for d in current_deployments(stores.metadata) if d.model == model and d.version in numbers]
    return deployed or [max(numbers)]


def _follow(stores: Stores, definitions: Definitions, model: str, alert: Alert, state: AlertState) -> Followed:
    try:
        match alert.then:
            case "retrain":
                made = train(stores, definitions, model, Progress(), why=[_why(alert, state)])
                did = f"{made.version} is up to date" if made.reused else f"trained {made.version}"
                return Followed(state, alert.then, did)
            case "rollback":
                return Followed(state, alert.then, _roll_back(stores, model, state.version))
            case _:
                deploy(stores, f"{model}@{state.version}")
                return Followed(state, alert.then, f"deployed {model}@{state.version}")
    except CarraraError as error:
        return Followed(state, alert.then, "", str(error))


def _why(alert: Alert, state: AlertState) -> str:
    """For the run and the model's record: the alert, of which window, and what moved most."""
    moved = ", ".join(state.details.get("features", ())[:3])
    ended = f"{state.window_end:%Y-%m-%d %H:%M}"
    return f"the alert '{alert.rule}' of {state.model}@{state.version}, window to {ended}{moved and f': {moved}'}"


def _roll_back(stores: Stores, model: str, version: int) -> str:
    """Every endpoint that serves the version serves again what it served before."""
    did = []
    for current in current_deployments(stores.metadata):
        if (current.model, current.version) != (model, version):
            continue
        former = [
            one
            for number in {v.version for v in list_models(stores, model)} - {version}
            for one in deployments_of(stores.metadata, model, number)
            if one.endpoint == current.endpoint and one.ended_at is not None
        ]
        if not former:
            raise NotFoundError(
                "earlier deployment", current.endpoint, hint="It has served nothing else of this model."
            )
        last = max(former, key=lambda one: one.ended_at or one.started_at)
        deploy(stores, f"{model}@{last.version}", current.endpoint)
        did.append(f"{current.endpoint} serves {model}@{last.version} again")
    if not did:
        raise NotFoundError("deployment", f"{model}@{version}", hint="Nothing serves it.")
    return ", ".join(did)


def open_alerts(stores: Stores, model: str | None = None) -> list[AlertState]:
    """What is pending or fires."""
    return list_alerts(stores.metadata, model, open_only=True)


def with_window(monitor: Monitor, window: str | None) -> Monitor:
    """A monitor with windows of another length."""
    return monitor if window is None else replace(monitor, window=window)
