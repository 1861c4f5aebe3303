"""Draws charts of a record without a network: as SVG, PNG, HTML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.plugins import require

FORMATS = ("svg", "png", "html", "json")


def chart_named(charts: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """A chart by its name or the beginning of it, such as `roc`; NotFoundError names the nearest."""
    fitting = [name] if name in charts else [known for known in charts if known.startswith(name)]
    if not fitting:
        hint = f"--feature NAME draws the {name} of one." if name in ("dependence", "distribution") else ""
        raise NotFoundError("chart", name, charts, hint=hint)
    return charts[fitting[0]]


def form_of(path: Path) -> str:
    """One of FORMATS, by the end of a file's name; NotFoundError for another."""
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise NotFoundError("format of charts", form or path.name, FORMATS, hint="-o chart.svg, .png, .html or .json")
    return form


def drawn(spec: Mapping[str, Any], form: str) -> bytes:
    """A chart in one of FORMATS. An HTML page has all that it needs inside, and its sliders work."""
    if form not in FORMATS:
        raise NotFoundError("format of charts", form, FORMATS)
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(spec), indent=2)
    vl_convert = require("vl_convert", extra="report", purpose="to draw charts")
    try:
        if form == "html":
            return str(vl_convert.vegalite_to_html(offline(spec), bundle=True)).encode()
        if form == "png":
            return bytes(vl_convert.vegalite_to_png(offline(spec), scale=2, allowed_base_urls=[]))
        return str(vl_convert.vegalite_to_svg(offline(spec), allowed_base_urls=[])).encode()
    except ValueError as error:
        raise CarraraError(f"the chart cannot be drawn: {str(error).strip().splitlines()[0]}") from None


def offline(spec: Any) -> Any:
    """A chart's spec without addresses: nothing is loaded or linked.

    A link that is refused would not fail its own chart but the next one (vl-convert 1.9).
    """
    if isinstance(spec, Mapping):
        kept = {key: value for key, value in spec.items() if key not in ("href", "url")}
        return {key: value if key == "values" else offline(value) for key, value in kept.items()}
    return [offline(item) for item in spec] if isinstance(spec, list | tuple) else spec
