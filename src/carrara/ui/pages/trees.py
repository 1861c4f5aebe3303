"""The tree viewer: every tree of a version in a line, and one drawn with the training rows at its nodes."""

from __future__ import annotations

from dataclasses import dataclass

from carrara.models.learned.tree_view import Node, RowPath, TreeView
from carrara.pipelines.trees import Trees
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged
from carrara.ui.pages.models import resolve_version

_DEPTH = 3
_TOLD = "value."
_SHOWN = 20
_ACROSS, _DOWN = 124.0, 104.0


@dataclass(frozen=True)
class Placed:
    """A node in the picture; `cut` is how many nodes below it are not drawn."""

    node: Node
    x: float
    y: float
    cut: int


def trees(desk: Desk, asked: Asked) -> Page:
    found = resolve_version(desk, asked)
    key = ("trees", found.manifest, asked.get("node"))
    read = desk.kept(key, 3600.0, lambda: desk.workspace.models.trees(str(found), node=asked.get("node")))
    table = read.table()
    number = asked.number("tree", 0) or 0
    view = read.view(number)
    told = {name.removeprefix(_TOLD): values[-1] for name, values in asked.filters.items() if name.startswith(_TOLD)}
    row = read.row(told)
    (path,) = read.paths(row, number) if told else (None,)
    root = asked.number("from", view.nodes[0].number) or view.nodes[0].number
    placed, lines = draw(view, root)
    data = {
        "model": found.model,
        "version": found.version,
        "tree": view.as_dict(),
        "features": row.row(0, named=True),
        "path": path.as_dict() if path is not None else None,
        "trees": table[asked.offset : asked.offset + PAGE_ROWS],
        **paged(asked, len(table)),
    }
    width = max((one.x for one in placed), default=0) + _ACROSS
    height = max((one.y for one in placed), default=0) + _DOWN
    drawn = {
        "placed": placed,
        "lines": lines,
        "width": width,
        "height": height,
        "named": str(found),
        "root": root,
        "way": path.nodes or () if path is not None else (),
        "adds": _adds(path),
        "outputs": _outputs(read),
        "told": told,
    }
    return Page("trees.html.j2", f"Trees of {found}", data, drawn)


def _adds(path: RowPath | None) -> list[tuple[int, float, float]]:
    """The trees that add most to the margin of a row: the number of each, what it adds, and that beside the most."""
    added = sorted(enumerate(path.contributions), key=lambda one: -abs(one[1]))[:_SHOWN] if path is not None else []
    most = abs(added[0][1]) or 1.0 if added else 1.0
    return [(number, value, value / most) for number, value in added]


def _outputs(read: Trees) -> list[str]:
    """How the outputs are called."""
    count = len(read.forest.base)
    return list(read.classes) if count > 1 and len(read.classes) == count else [""] * count


def draw(view: TreeView, root: int) -> tuple[list[Placed], list[tuple[float, float, float, float, Node]]]:
    """The nodes below `root`, three levels deep, leaves side by side; and the lines (x, y, x, y) to each from above."""
    nodes = {node.number: node for node in view.nodes}
    below: dict[int, list[Node]] = {}
    for node in view.nodes:
        if node.parent is not None:
            below.setdefault(node.parent, []).append(node)
    start = nodes.get(root, view.nodes[0])
    placed: dict[int, Placed] = {}
    next_x = 0.0

    def place(node: Node, level: int) -> float:
        nonlocal next_x
        children = below.get(node.number, []) if level < _DEPTH else []
        if children:
            xs = [place(child, level + 1) for child in children]
            x = sum(xs) / len(xs)
        else:
            x, next_x = next_x, next_x + _ACROSS
        cut = _count(node, below) if level >= _DEPTH else 0
        placed[node.number] = Placed(node, x, level * _DOWN, cut)
        return x

    place(start, 0)
    lines = [
        (placed[one.node.parent].x, placed[one.node.parent].y, one.x, one.y, one.node)
        for one in placed.values()
        if one.node.parent in placed
    ]
    return list(placed.values()), lines


def _count(node: Node, below: dict[int, list[Node]]) -> int:
    return sum(1 + _count(child, below) for child in below.get(node.number, []))
