"""Charts: Vega's libraries as one script, and the specs of records as they are, or as SVG where no script runs."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carrara.core.plugins import require
from carrara.ui.render import PURPOSE

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def chart_library(root: Path) -> bytes:
    """Vega, Vega-Lite and Vega-Embed as a script; made once, by the library that holds them, and kept in the workspace:
    it takes seconds."""
    path = root / ".carrara" / "ui" / f"vega-{version('vl-convert-python')}.js"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(_bundle(), encoding="utf-8")
        unfinished.replace(path)
    return path.read_bytes()


@cache
def _bundle() -> str:
    vl_convert = require("vl_convert", extra="ui", purpose=PURPOSE)
    script: str = vl_convert.javascript_bundle(_SNIPPET)
    return script


def as_svg(spec: dict[str, Any]) -> str:
    """A chart as SVG, for where no script runs. Raises ValueError for a spec that cannot be drawn."""
    vl_convert = require("vl_convert", extra="ui", purpose=PURPOSE)
    svg: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return svg
