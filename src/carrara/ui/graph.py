"""The picture of a lineage: boxes in layers from the left, sources first, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

_WIDTH, _HEIGHT, _ACROSS, _DOWN = 190.0, 46.0, 250.0, 62.0
_SWEEPS = 4


@dataclass(frozen=True)
class Box:
    """A version in the picture; `before` and `after` are the numbers of what it was made from, and of."""

    number: int
    address: str
    x: float
    y: float
    chosen: bool
    before: tuple[int, ...]
    after: tuple[int, ...]
    width: float = _WIDTH
    height: float = _HEIGHT


@dataclass(frozen=True)
class Arrow:
    source: int
    target: int
    path: str


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def draw(edges: Iterable[tuple[str, str]], chosen: str) -> Graph:
    """Lay out what `edges` (source, target) connect, with `chosen` marked; a circle is drawn as if it were open."""
    pairs = list(dict.fromkeys(edges))
    names = list(dict.fromkeys([chosen, *(name for pair in pairs for name in pair)]))
    depth = _depths(names, pairs)
    layers = _ordered(names, pairs, depth)
    place = {name: (level, row) for level, layer in enumerate(layers) for row, name in enumerate(layer)}
    tallest = max(len(layer) for layer in layers)
    number = {name: index for index, name in enumerate(names)}
    boxes = []
    for name in names:
        level, row = place[name]
        top = (tallest - len(layers[level])) * _DOWN / 2
        before = tuple(number[s] for s, t in pairs if t == name)
        after = tuple(number[t] for s, t in pairs if s == name)
        boxes.append(Box(number[name], name, level * _ACROSS, top + row * _DOWN, name == chosen, before, after))
    arrows = tuple(_arrow(boxes[number[source]], boxes[number[target]]) for source, target in pairs)
    return Graph((len(layers) - 1) * _ACROSS + _WIDTH, tallest * _DOWN - _DOWN + _HEIGHT, tuple(boxes), arrows)


def _depths(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way from a source to each name."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        moved = [(target, depth[source] + 1) for source, target in pairs if depth[target] <= depth[source]]
        if not moved:
            break
        for target, least in moved:
            depth[target] = max(depth[target], least)
    return {name: min(level, len(names)) for name, level in depth.items()}


def _ordered(names: Sequence[str], pairs: Sequence[tuple[str, str]], depth: Mapping[str, int]) -> list[list[str]]:
    """The layers, each in an order in which few edges cross: by the middle of their neighbours, a few times."""
    used = sorted(set(depth.values()))
    layers = [[name for name in names if depth[name] == level] for level in used]
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for level in range(len(layers)) if forward else range(len(layers) - 1, -1, -1):
            row = {name: index for layer in layers for index, name in enumerate(layer)}
            beside: dict[str, list[int]] = {name: [] for name in layers[level]}
            for source, target in pairs:
                one, other = (target, source) if forward else (source, target)
                if one in beside:
                    beside[one].append(row[other])
            layers[level].sort(key=lambda name: mean(beside[name]) if beside[name] else row[name])
    return layers


def _arrow(source: Box, target: Box) -> Arrow:
    x, y = source.x + source.width, source.y + source.height / 2
    to_x, to_y = target.x, target.y + target.height / 2
    bend = max((to_x - x) / 2, 30.0)
    return Arrow(
        source.number, target.number, f"M{x:g},{y:g} C{x + bend:g},{y:g} {to_x - bend:g},{to_y:g} {to_x:g},{to_y:g}"
    )
