"""The report of a model version: its whole record as one HTML page that needs nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

from carrara.core.plugins import require
from carrara.models.learned.tree_view import TreeView

_PURPOSE = "the HTML report"
_UNSAFE_ELEMENTS = {"script", "foreignObject", "image", "use", "style"}
_MOST_ENTRIES = 60


def render_report(record: Mapping[str, Any], trees: Sequence[TreeView] = ()) -> str:
    """The HTML page of a model record, with some of its trees; what is missing in the record is left out of the page.

    The page loads nothing and runs nothing, and every value in it is escaped. Raises MissingExtra when the
    libraries of `carrara[report]` are not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose=_PURPOSE)
    loader = jinja2.FunctionLoader(lambda name: files("carrara.models").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        number=_number, exact=_exact, share=_share, when=_when, words=_words, entries=_entries, kind=_kind, bars=_bars
    )
    page: str = environment.get_template("report.html.j2").render(_view(record), trees=trees)
    return page


def _view(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the template reads: every key present, charts drawn, rows in the order they are shown."""
    metrics = record.get("metrics") or {}
    test, validation, baseline = (metrics.get(part) or {} for part in ("test", "validation", "baseline"))
    slices = metrics.get("slices") or []
    features = sorted(record.get("features") or [], key=lambda feature: -(feature.get("importance") or 0.0))
    return {
        "record": record,
        "metric_names": list(dict.fromkeys([*test, *validation, *baseline])),
        "test": test,
        "validation": validation,
        "baseline": baseline,
        "slices": slices,
        "slice_metrics": list(dict.fromkeys(name for one in slices for name in one.get("metrics") or {})),
        "features": features,
        "most_important": max((feature.get("importance") or 0.0 for feature in features), default=0.0),
        "gates": record.get("gates") or {},
        "charts": {name: _drawn(name, spec) for name, spec in (record.get("charts") or {}).items()},
        # Distributions and curves are drawn: their figures are in the record.
        "summary": {n: v for n, v in (record.get("summary") or {}).items() if n not in ("scores", "curve") and v},
        "duration": _duration(record.get("started_at"), record.get("ended_at")),
    }


def _drawn(name: str, spec: Mapping[str, Any]) -> Any:
    """A chart as inline SVG, or None when its spec cannot be drawn."""
    vl_convert = require("vl_convert", extra="report", purpose=_PURPOSE)
    markup = require("markupsafe", extra="report", purpose=_PURPOSE)
    try:
        svg = vl_convert.vegalite_to_svg(_offline(spec), allowed_base_urls=[])
    except ValueError:
        return None
    return markup.Markup(_tamed(svg, prefix=re.sub(r"\W", "_", name)))


def _offline(spec: Any) -> Any:
    """A chart's spec without addresses: nothing is loaded or linked.

    A link that is refused would not fail its own chart but the next one (vl-convert 1.9).
    """
    if isinstance(spec, Mapping):
        kept = {key: value for key, value in spec.items() if key not in ("href", "url")}
        return {key: value if key == "values" else _offline(value) for key, value in kept.items()}
    return [_offline(item) for item in spec] if isinstance(spec, list | tuple) else spec


def _tamed(svg: str, prefix: str) -> str:
    """An SVG that can stand among others in a page: own ids, no links, nothing that runs or loads."""
    root = ElementTree.fromstring(svg)
    # Vega counts its ids through the life of the process; renumbered, a record has one page and not many.
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    own = {old: f"{prefix}-{number}" for number, old in enumerate(ids)}
    for element in list(root.iter()):
        element.tag = _local(element.tag)
        for child in [child for child in element if _local(child.tag) in _UNSAFE_ELEMENTS]:
            element.remove(child)
        kept = {_local(key): _renamed(value, own) for key, value in element.attrib.items() if _inert(_local(key))}
        element.attrib.clear()
        element.attrib.update(kept)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _inert(attribute: str) -> bool:
    return attribute != "href" and not attribute.lower().startswith("on")


def _renamed(value: str, own: Mapping[str, str]) -> str:
    reference = re.fullmatch(r"url\(#(.*)\)", value)
    return f"url(#{own.get(reference[1], '')})" if reference else own.get(value, value)


def _number(value: Any) -> str:
    """A figure to four digits, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "—" if value is None else str(value)
    if not math.isfinite(value):
        return "—"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _exact(value: Any) -> str:
    """A scalar as the record has it: a seed or a learning rate is not rounded, nor a year given a comma."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "—" if value is None else str(value)


def _share(value: Any) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "—"
    return f"{value:.1%}"


def _when(value: Any) -> str:
    """A time for people, in UTC and to the second; anything else as it is."""
    try:
        time = _time(value)
    except (TypeError, ValueError):
        return "—" if value is None else str(value)
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time.tzinfo else f"{time:%Y-%m-%d %H:%M:%S}"


def _duration(start: Any, end: Any) -> str:
    try:
        seconds = (_time(end) - _time(start)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _kind(value: Any) -> str:
    """How the template draws a nested value: as a mapping, a table, a list or a scalar."""
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        flat = all(isinstance(item, Mapping) and not any(map(_nested, item.values())) for item in value)
        return "table" if value and flat else "list"
    return "scalar"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _entries(value: Any) -> tuple[list[Any], int]:
    """The first entries of a mapping or a list, and how many were left out: learned parameters can be huge."""
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    return items[:_MOST_ENTRIES], max(len(items) - _MOST_ENTRIES, 0)


def _bars(histogram: Any, width: float = 120, height: float = 28) -> list[tuple[float, float, float, float]]:
    """(x, y, width, height) of each bar of a sparkline of `histogram`; empty when there is nothing to draw."""
    counts = [float(count) for count in (histogram or {}).get("counts") or []]
    if not counts or max(counts) <= 0:
        return []
    step, tallest = width / len(counts), max(counts)
    # A bar of one row must be seen beside one of a million, so no filled bin is lower than a pixel.
    heights = [max(count / tallest * height, 1.0) if count else 0.0 for count in counts]
    return [
        (round(i * step, 2), round(height - h, 2), round(step * 0.9, 2), round(h, 2)) for i, h in enumerate(heights)
    ]
