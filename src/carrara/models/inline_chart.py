"""Charts as SVG that stands inside of a page: ids of their own, nothing that links, runs or loads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from carrara.core.errors import CarraraError, MissingExtra
from carrara.core.plugins import require
from carrara.models.drawing import drawn

_UNSAFE_ELEMENTS = {"script", "foreignObject", "image", "use", "style"}


def inline_svg(name: str, spec: Mapping[str, Any]) -> str:
    """A chart as inline SVG; its ids begin with `name`. Raises CarraraError when its spec cannot be drawn."""
    return _tamed(drawn(spec, "svg").decode(), prefix=re.sub(r"\W", "_", name))


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


def inline_markup(name: str, spec: Mapping[str, Any]) -> Any:
    """The same for a template, or None when the spec cannot be drawn."""
    markup = require("markupsafe", extra="report", purpose="the HTML report")
    try:
        return markup.Markup(inline_svg(name, spec))
    except MissingExtra:
        raise
    except CarraraError:
        return None
