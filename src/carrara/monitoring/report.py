"""The report of a monitor: its windows as one HTML page that loads nothing and runs nothing."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from carrara.core.plugins import require
from carrara.monitoring.live import MonitorReport, Window

_WIDTH, _HEIGHT, _PAD = 720.0, 120.0, 6.0
_MOST_FEATURES = 30


def render_report(report: MonitorReport) -> str:
    """The page; every value in it is escaped. Raises MissingExtra without the libraries of `carrara[report]`."""
    jinja2 = require("jinja2", extra="report", purpose="the HTML report")
    loader = jinja2.FunctionLoader(lambda name: files("carrara.monitoring").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(figure=_figure, share=_share)
    main = next(iter(report.evaluation), None)
    newest = next((w for w in reversed(report.windows) if w.result), None)
    page: str = environment.get_template("monitor_report.html.j2").render(
        report=report,
        main=main,
        newest=newest,
        features=newest.drift[:_MOST_FEATURES] if newest else [],
        quality=_line(report.windows, lambda w: ((w.metrics or {}).get(main) or {}).get("value")),
        expected=(report.evaluation.get(main) or {}).get("value") if main else None,
        scores=_line(report.windows, lambda w: w.score_drift.get("psi")),
        firing=[one for one in report.alerts if one.state != "resolved"],
        lost=sum(loss.rows for loss in report.losses),
        width=_WIDTH,
        height=_HEIGHT,
    )
    return page


def _line(windows: list[Window], value: Any) -> dict[str, Any] | None:
    """A line of a value by window: its points in the picture, and the ends of its axis; gaps where it is not known."""
    seen = [window for window in windows if window.result]
    values = [value(window) for window in seen]
    known = [one for one in values if one is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    room = (high - low) or 1.0
    step = (_WIDTH - 2 * _PAD) / max(len(values) - 1, 1)
    points = [
        (
            round(_PAD + step * place, 1),
            round(_HEIGHT - _PAD - (one - low) / room * (_HEIGHT - 2 * _PAD), 1),
            one,
            window,
        )
        for place, (one, window) in enumerate(zip(values, seen, strict=True))
        if one is not None
    ]
    return {"points": points, "low": low, "high": high}


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: Any) -> str:
    return "–" if value is None else f"{value:.1%}"
