"""The report of a monitor: its windows as one HTML page that loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from carrara.core.plugins import require
from carrara.monitoring.live import MonitorReport, Window

_WIDTH, _HEIGHT = 760.0, 170.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 10.0, 24.0
_MOST_FEATURES = 30


def render_report(report: MonitorReport) -> str:
    """The page; every value in it is escaped. Raises MissingExtra without the libraries of `carrara[report]`."""
    jinja2 = require("jinja2", extra="report", purpose="the HTML report")
    loader = jinja2.FunctionLoader(lambda name: files("carrara.monitoring").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(figure=_figure, share=_share, lasting=_lasting)
    main = next(iter(report.evaluation), "")
    newest = next((w for w in reversed(report.windows) if w.result), None)
    expected = (report.evaluation.get(main) or {}).get("value")
    page: str = environment.get_template("monitor_report.html.j2").render(
        report=report,
        main=main,
        newest=newest,
        features=newest.drift[:_MOST_FEATURES] if newest else [],
        quality=_drawn(report.windows, lambda w: (w.metrics or {}).get(main) or {}, expected),
        scores=_drawn(report.windows, lambda w: {"value": w.score_drift.get("psi"), "low": 0.0}, None),
        firing=[one for one in report.alerts if one.state != "resolved"],
        lost=sum(loss.rows for loss in report.losses),
        width=_WIDTH,
        height=_HEIGHT,
    )
    return page


def _drawn(
    windows: Sequence[Window], measured: Callable[[Window], Mapping[str, Any]], expected: float | None
) -> dict[str, Any] | None:
    """A value by window as a picture: dots, the line and the band of intervals, and where the axes and `expected` are.

    None where it is known of no window; a window without it is a gap, and no line leads over it.
    """
    seen = [(window, measured(window)) for window in windows]
    there = [place for place, (_, found) in enumerate(seen) if found.get("value") is not None]
    seen = seen[there[0] : there[-1] + 1] if there else []
    known = [one for _, found in seen if found.get("value") is not None for one in _ends(found)]
    if not known:
        return None
    ends = [*known, *([expected] if expected is not None else [])]
    low, high = min(ends), max(ends)
    high = high if high > low else low + (abs(low) or 1.0) * 0.1
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(seen) - 1, 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP), 1)

    dots: list[dict[str, Any]] = []
    runs: list[list[tuple[float, ...]]] = [[]]
    for place, (window, found) in enumerate(seen):
        if found.get("value") is None:
            runs.append([])
            continue
        x = round(_LEFT + (step * place if len(seen) > 1 else (_WIDTH - _LEFT - _RIGHT) / 2), 1)
        dots.append({"x": x, "y": y(found["value"]), "value": found["value"], "window": window})
        runs[-1].append((x, y(found["value"]), *(y(one) for one in _ends(found))))
    return {
        "dots": dots,
        "lines": [[(x, middle) for x, middle, *_ in run] for run in runs if len(run) > 1],
        "bands": [
            [(x, bottom) for x, _, bottom, _ in run] + [(x, top) for x, _, _, top in reversed(run)]
            for run in runs
            if len(run) > 1
        ],
        "ticks": [(low, y(low)), (high, y(high))],
        "expected": None if expected is None else (expected, y(expected)),
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "bottom": _HEIGHT - _BOTTOM,
    }


def _ends(found: Mapping[str, Any]) -> tuple[float, float]:
    """The ends of a value's interval; the value itself where it has none."""
    ends = (found.get(name) for name in ("low", "high"))
    low, high = (found["value"] if one is None else one for one in ends)
    return low, high


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _lasting(seconds: Any) -> str:
    """Seconds in the unit that one would say them in."""
    if seconds is None:
        return "–"
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _share(value: Any) -> str:
    return "–" if value is None else f"{value:.1%}"
