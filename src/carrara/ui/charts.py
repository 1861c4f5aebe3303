"""Charts: Vega's libraries as one script, and the specs of records as they are, or as SVG where no script runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carrara.core.errors import NotFoundError, UnavailableError
from carrara.core.json import to_json
from carrara.core.palette import THEMES, recoloured
from carrara.core.plugins import require
from carrara.ui.render import PURPOSE

_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_MAKE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle(sys.argv[1]).encode())"
_one_at_a_time = threading.Lock()


def chart_library(root: Path) -> bytes:
    """Vega, Vega-Lite and Vega-Embed as a script; made once, by the library that holds them, and kept in the workspace:
    it takes seconds. Raises UnavailableError where it cannot be made."""
    path = root / ".carrara" / "ui" / f"vega-{version('vl-convert-python')}.js"
    with _one_at_a_time:
        if not path.is_file():
            script = _bundle()
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(script)
            unfinished.replace(path)
    return path.read_bytes()


@cache
def _bundle() -> bytes:
    """Made in a process of its own: in this one no page would be answered meanwhile (vl-convert 1.9)."""
    require("vl_convert", extra="ui", purpose=PURPOSE)
    made = subprocess.run([sys.executable, "-c", _MAKE, _SNIPPET], stdin=subprocess.DEVNULL, capture_output=True)
    if made.returncode:
        raise UnavailableError("the chart library could not be made", hint="Charts are shown as pictures.")
    return made.stdout


def in_theme(spec: dict[str, Any], theme: str) -> bytes:
    """A chart's spec as JSON in the colours of the pages' `theme`, light or dark."""
    if theme not in THEMES:
        raise NotFoundError("theme", theme, THEMES)
    return recoloured(to_json(spec).decode(), THEMES[theme].__getitem__).encode()
