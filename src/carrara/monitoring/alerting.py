"""From windows to alerts: which rules hold, for how many windows, who is told, and what is to follow."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from carrara.core.digests import digest_data
from carrara.core.metrics import ALERTS_NOT_TOLD
from carrara.metadata.alerts import (
    FIRING,
    AlertState,
    list_alerts,
    list_silences,
    mark_taken,
    mark_told,
    move_alert,
    untold,
)
from carrara.monitoring.alert import Alert
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.notify.base import Notification, Notifier, Told
from carrara.monitoring.rule import Facts, evaluate_rule, names_in
from carrara.storage.stores import Stores

_MOST_FEATURES = 5
_SEEN_MISSING = 0.01
_OF_QUALITY = ("worse", "low", "high", "evaluation", "estimated", "estimated_worse")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A window and what is known of it."""

    start: datetime
    end: datetime
    facts: Facts


@dataclass(frozen=True)
class Standing:
    """A rule as of the newest windows for which it is known: for how many in a row it has held (None: not known)."""

    alert: Alert
    windows: int | None
    newest: Judged | None

    @property
    def state(self) -> str:
        if self.windows is None:
            return "unknown"
        return "firing" if self.windows >= self.alert.for_windows else "pending" if self.windows else "ok"

    def as_dict(self) -> dict[str, Any]:
        end = self.newest.end.isoformat() if self.newest else None
        return {"rule": self.alert.rule, "state": self.state, "windows": self.windows, "window_end": end} | {
            name: getattr(self.alert, name) for name in ("for_windows", "severity", "then")
        }


def standing(alert: Alert, windows: Sequence[Judged]) -> Standing:
    """How a rule stands after `windows`, oldest first. A window for which it is not known is passed over: outcomes come
    later than predictions."""
    held, newest = 0, None
    for window in reversed(windows):
        holds = evaluate_rule(alert.rule, window.facts)
        if holds is None:
            continue
        newest = newest or window
        if not holds:
            break
        held += 1
        if held >= alert.for_windows:
            break
    return Standing(alert, held if newest is not None else None, newest)


def move_alerts(
    stores: Stores, monitor: Monitor, version: int, windows: Sequence[Judged]
) -> list[tuple[Alert, AlertState]]:
    """Bring every alert of a version to where its windows bring it, tell what changed; those that began to fire."""
    now, begun = stores.clock(), []
    for alert in monitor.alerts:
        stands = standing(alert, windows)
        if stands.windows is None or stands.newest is None:
            continue
        moved = move_alert(
            stores.metadata,
            monitor.name,
            version,
            alert.rule,
            windows=stands.windows,
            for_windows=alert.for_windows,
            window_end=stands.newest.end,
            details=details_of(alert, stands.newest),
            now=now,
        )
        if moved is not None and moved.state == FIRING:
            begun.append((alert, moved))
    _resolve_undeclared(stores, monitor, version, now)
    tell(stores, monitor, version)
    return begun


def tell(stores: Stores, monitor: Monitor, version: int) -> bool:
    """Tell, in one message, what fires or is resolved and was not told; silenced ones count as told. True if it was.

    Where a notifier fails, it is told again the next time, and it alone: at least once each, and not again and again.
    """
    now, waiting = stores.clock(), untold(stores.metadata, monitor.name, version)
    silenced = list_silences(stores.metadata, monitor.name, now)
    quiet = [one for one in waiting if any(s.rule in (None, one.rule) for s in silenced)]
    loud = [one for one in waiting if one not in quiet]
    took = [_taken(stores, monitor, version, notifier, loud) for notifier in monitor.notify]
    sent = all(took)
    done = quiet + (loud if sent else [])
    if done:
        mark_told(stores.metadata, [one.id for one in done], now)
    return sent and bool(loud)


def _taken(stores: Stores, monitor: Monitor, version: int, notifier: Notifier, waiting: Sequence[AlertState]) -> bool:
    """Whether a notifier has taken all that is waiting, now or before."""
    name = f"{notifier.kind} {digest_data(notifier.spec())[:16]}"
    news = [one for one in waiting if name not in one.taken_by]
    if not news:
        return True
    declared = {alert.rule: alert for alert in monitor.alerts}
    alerts = tuple(_told(one, declared.get(one.rule)) for one in news)
    page = f"{stores.page}/monitoring/{quote(monitor.name)}/{version}" if stores.page else ""
    try:
        notifier.send(Notification(str(stores.root), monitor.name, version, stores.clock(), alerts, page))
    except Exception as error:  # one that is down holds up neither the others nor the monitor
        ALERTS_NOT_TOLD.labels(notifier.kind).inc()
        _log.warning("alerts were not told by %s: %s", notifier.kind, error)
        return False
    mark_taken(stores.metadata, news, name)
    return True


def details_of(alert: Alert, window: Judged) -> dict[str, Any]:
    """What a person wants to know first: what moved most, the slices that are worst, quality then and now."""
    result = window.facts.result
    named = names_in(alert.rule)
    about_quality = bool(
        named & {"worse", "low", "high", "evaluation", "estimated", "estimated_worse", *(result["metrics"] or {})}
    )
    moved = [one for one in result["drift"] if one["psi"] > one["by_chance"]]
    if "missing" in named:
        moved.sort(key=lambda one: -_more_missing(one))
        moved = [one for one in moved if _more_missing(one) > _SEEN_MISSING] or moved
    moved = moved[: 2 if about_quality else _MOST_FEATURES]
    worst = sorted((one for one in result["slices"] if _main(one) is not None), key=lambda one: _main(one) or 0.0)[:3]
    lines = []
    if about_quality:
        for name in result["worse"]:
            live, then = result["metrics"][name], result["evaluation"][name]
            lines.append(f"{name} {live['value']:.4g} [{live['low']:.4g}, {live['high']:.4g}], was {then['value']:.4g}")
        if named & {"estimated", "estimated_worse"}:
            lines += [_estimate_line(name, result) for name in result.get("estimated_worse", ())]
        lines += [_slice_line(one) for one in worst]
    lines += [_feature_line(one) for one in moved]
    if result["parity"] and result["parity"]["differences"] and "parity" in named:
        first = result["parity"]["differences"][0]
        lines.insert(0, f"{first['feature']}: {first['online']} online, {first['offline']} offline. {first['why']}")
    return {
        "description": alert.description,
        "severity": alert.severity,
        "window_start": window.start.isoformat(),
        "features": [one["feature"] for one in moved],
        "slices": [{"column": one["column"], "value": one["value"]} for one in worst],
        "lines": lines,
    }


def _main(one: dict[str, Any]) -> float | None:
    value: float | None = next(iter(one["metrics"].values()))["value"]
    return value


def _slice_line(one: dict[str, Any]) -> str:
    name = next(iter(one["metrics"]))
    return f"where {one['column']} = {one['value']}: {name} {_main(one):.4g} on {one['rows']:,} predictions"


def _estimate_line(name: str, result: Mapping[str, Any]) -> str:
    one, then = result["estimated"][name], result["evaluation"][name]
    return f"{name} will be {one['low']:.4g} to {one['high']:.4g} when outcomes are known, was {then['value']:.4g}"


def _more_missing(one: dict[str, Any]) -> float:
    return float(one["null_share_actual"] - one["null_share_expected"])


def _feature_line(one: dict[str, Any]) -> str:
    effect = one["effect"]
    said = f", moves the output by {effect:.3g}" if effect is not None else ""
    was = f"{one['null_share_expected']:.0%} in training"
    lost = f", {one['null_share_actual']:.0%} missing ({was})" if _more_missing(one) > _SEEN_MISSING else ""
    return f"{one['feature']}: PSI {one['psi']:.2f}{said}{lost}"


def _told(one: AlertState, alert: Alert | None) -> Told:
    return Told(
        id=one.id,
        rule=one.rule,
        severity=alert.severity if alert else one.details.get("severity", "warning"),
        description=alert.description if alert else one.details.get("description", ""),
        state=one.state,
        since=one.firing_at or one.pending_at,
        window_start=datetime.fromisoformat(one.details["window_start"]),
        window_end=one.window_end,
        details=one.details,
    )


def _resolve_undeclared(stores: Stores, monitor: Monitor, version: int, now: datetime) -> None:
    """An alert whose rule is no longer declared, or of a version that a later one has replaced, is over."""
    declared = {alert.rule for alert in monitor.alerts}
    for one in list_alerts(stores.metadata, monitor.name, open_only=True):
        if one.version < version or one.rule not in declared:
            move_alert(
                stores.metadata,
                one.model,
                one.version,
                one.rule,
                windows=0,
                for_windows=1,
                window_end=one.window_end,
                details=one.details,
                now=now,
            )
