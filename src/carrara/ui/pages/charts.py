"""Files beside the pages: a chart's spec, the same as SVG, and the report of a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from carrara.core.errors import NotFoundError
from carrara.models.drawing import drawn
from carrara.models.registry import read_record
from carrara.models.report import render_report
from carrara.ui.charts import in_theme
from carrara.ui.desk import Desk
from carrara.ui.page import Asked
from carrara.ui.pages.models import resolve_version

# A version's record never changes.
_KEPT = {"Cache-Control": "private, max-age=86400"}
_REPORT = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRoute:
    path: str
    function: Callable[[Desk, Asked], File]


def spec(desk: Desk, asked: Asked) -> File:
    return File(_spec(desk, asked), "application/json", _KEPT)


def picture(desk: Desk, asked: Asked) -> File:
    return File(drawn(msgspec.json.decode(_spec(desk, asked)), "svg"), "image/svg+xml", _KEPT)


def report(desk: Desk, asked: Asked) -> File:
    found = resolve_version(desk, asked)
    return File(render_report(read_record(desk.workspace.stores, found)).encode(), "text/html", _REPORT)


def _spec(desk: Desk, asked: Asked) -> bytes:
    """A chart's spec in the colours of a theme."""
    found = resolve_version(desk, asked)
    charts = desk.kept(("charts", found.manifest), 3600.0, lambda: read_record(desk.workspace.stores, found)["charts"])
    if asked["chart"] not in charts:
        raise NotFoundError("chart", asked["chart"], charts, where=str(found))
    return in_theme(charts[asked["chart"]], asked.get("theme") or "light")


FILES = (
    FileRoute("/models/{name}/{version}/charts/{chart}.vega", spec),
    FileRoute("/models/{name}/{version}/charts/{chart}.svg", picture),
    FileRoute("/models/{name}/{version}/report", report),
)
