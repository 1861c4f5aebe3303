"""How windows show themselves in a notebook: quality beside the evaluation's, drift by feature and window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from carrara.core.drawings import curves
from carrara.core.figures import number, when, words
from carrara.core.html import card, figures, note, section, state, table
from carrara.core.svg import Html, lines

if TYPE_CHECKING:
    from carrara.monitoring.live import MonitorReport, Window

PSI_SOME, PSI_MUCH = 0.1, 0.25
"""From where on a population stability index is read as some drift, and as much."""

_MOST_WINDOWS, _MOST_FEATURES = 12, 20
_LOOKS = {"ok": "good", "alert": "bad", "firing": "bad", "pending": "warn"}


def report_card(report: MonitorReport) -> str:
    """A version in production: alerts, quality by window, windows, drift."""
    asked = [window for window in report.windows if window.state != "no predictions"][-_MOST_WINDOWS:]
    alerts = [(_state(one.state), one.rule, one.windows) for one in report.alerts if one.state != "resolved"]
    return card(
        f"{report.model}@{report.version} in production",
        figures({"Predictions": report.predictions, "Outcomes": report.outcomes}),
        section("Alerts", table(["", "rule", "windows"], alerts) if alerts else ""),
        section("Quality, live and when evaluated", *_quality(report.metrics, report.evaluation, asked)),
        section("Windows", table(["from", "", "state", "predictions", "outcomes"], map(_row, reversed(asked)))),
        section("Drift by feature, as PSI", _drift(asked)),
    )


def window_card(window: Window) -> str:
    """One window of a version's predictions."""
    quality = _quality(window.metrics, window.result.get("evaluation", {}), [window])
    return card(
        f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC",
        figures({"Predictions": window.predictions, "Outcomes": window.outcomes}),
        note(window.error or "; ".join(f"{rule} holds" for rule in window.holds)),
        section("Quality, live and when evaluated", *quality),
        section("Drift by feature, as PSI", _drift([window])),
        lead=Html(f"{_state(window.health)} {_state(window.state)}"),
    )


def psi_look(value: float | None) -> str:
    """How a population stability index is read: much, some, or neither."""
    if value is None or value < PSI_SOME:
        return ""
    return "much" if value >= PSI_MUCH else "some"


def quality_points(
    windows: Sequence[Window], name: str, expected: float | None
) -> dict[str, list[tuple[datetime, float | None]]]:
    """One metric by window, with the evaluation's value as a second line."""
    live = [(one.start, (one.metrics or {}).get(name, {}).get("value")) for one in windows]
    ends = (
        [(one.start, expected) for one in (windows[0], windows[-1])]
        if len(windows) > 1 and expected is not None
        else []
    )
    return {"live": live, "evaluation": ends}


def drift_rows(windows: Sequence[Window]) -> list[dict[str, Any]]:
    """The PSI of each feature in each window; in the newest window's order: what changes the answers most first."""
    found: dict[str, list[float | None]] = {}
    for place, window in reversed(list(enumerate(windows))):
        for one in window.drift:
            found.setdefault(one["feature"], [None] * len(windows))[place] = one["psi"]
    return [{"feature": name, "psi": values} for name, values in found.items()]


def newest_estimate(windows: Sequence[Window]) -> Window | None:
    """The newest window of which it is known how good the answers probably are, before any outcome."""
    return next((one for one in reversed(windows) if one.result.get("estimated")), None)


def _quality(
    live: Mapping[str, Any] | None, evaluation: Mapping[str, Any], windows: Sequence[Window]
) -> tuple[Html, ...]:
    if not live:
        return _estimated(newest_estimate(windows), evaluation)
    rows = []
    for name, expected in evaluation.items():
        one = live.get(name) or {}
        points = quality_points(windows, name, expected["value"]) if len(windows) > 1 else {}
        drawn = curves(points, width=260, height=64, said=f"{name} by window")
        picture = lines(drawn, named=False) if drawn is not None else ""
        rows.append((words(name), one.get("value"), _between(one), expected["value"], picture))
    return (table(["metric", "live", "95 % interval", "evaluation", "by window"], rows),)


def _estimated(window: Window | None, evaluation: Mapping[str, Any]) -> tuple[Html, ...]:
    """What the metrics probably are, by the answers alone."""
    if window is None:
        return (note("No outcome is known yet: how good it is cannot be said."),)
    rows = [
        (words(name), one["value"], _between(one), (evaluation.get(name) or {}).get("value"))
        for name, one in window.result["estimated"].items()
    ]
    said = f"No outcome is known yet. By its answers alone, this is what the window from {when(window.start)} UTC"
    columns = ["metric", "estimated", "95 % interval", "evaluation"]
    return note(f"{said} probably comes to."), table(columns, rows)


def _between(value: Mapping[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    return "" if low is None or high is None else f"{low:.4g} – {high:.4g}"


def _drift(windows: Sequence[Window]) -> Html:
    rows = [(one["feature"], *map(_heat, one["psi"])) for one in drift_rows(windows)[:_MOST_FEATURES]]
    return table(["feature", *(f"{window.start:%m-%d}" for window in windows)], rows) if rows else Html()


def _heat(value: float | None) -> Html:
    return Html(f'<span class="heat {psi_look(value)}">{number(value)}</span>')


def _row(window: Window) -> tuple[Any, ...]:
    return window.start, _state(window.health), window.state, window.predictions, window.outcomes


def _state(word: str) -> Html:
    return state(word, _LOOKS.get(word, "quiet"))
