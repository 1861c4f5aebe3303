"""`carrara model tree`: the trees of a version, one of them, and the way of a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from carrara.models.learned.tree_view import Node, RowPath, TreeView
    from carrara.pipelines.trees import Trees

_LARGEST = 5


def tree(
    address: Annotated[
        str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS; or a file that `carrara model export` wrote.")
    ],
    number: Annotated[int | None, typer.Option("--tree", help="One tree, from 0; by default a line for each.")] = None,
    path: Annotated[Path | None, typer.Option(help="A file with rows of features: the way of each.")] = None,
    told: Annotated[
        list[str] | None, typer.Option("--what-if", help="FEATURE=VALUE, several times: the way of such a row.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Of a partitioned model: whose trees.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The trees of a version: splits, gains, training rows, and the way of a row."""
    trees = _read(address, node, number is not None, workspace)
    view = trees.view(number) if number is not None else None
    paths = trees.paths(_rows(path), number) if path is not None else []
    paths += trees.paths(trees.row(_told(told)), number) if told else []
    if as_json:
        shown = view.as_dict() if view is not None else {"trees": trees.table()}
        print_json({"model": trees.version, **shown, **({"paths": paths} if paths else {})})
        return
    if view is not None:
        _say_tree(trees, view, paths[0].nodes or () if paths else ())
    elif not paths:
        _say_table(trees)
    for one in paths:
        _say_path(one)


def _read(address: str, node: str | None, seen: bool, workspace: Path) -> Trees:
    """The trees of a version of the workspace, or of an exported one, which needs none."""
    if Path(address).is_file():
        from carrara.pipelines.trees import trees_of_bundle

        return trees_of_bundle(Path(address), node=node)
    with open_workspace(workspace) as ws:
        return ws.models.trees(address, node=node, seen=seen)


def _told(pairs: Sequence[str]) -> dict[str, str]:
    """What each FEATURE=VALUE says; a name may have an equals sign in it, and a value has none."""
    for pair in pairs:
        if "=" not in pair:
            raise typer.BadParameter(f"'{pair}' is no FEATURE=VALUE")
    return {name: value for name, _, value in (pair.rpartition("=") for pair in pairs)}


def _rows(path: Path) -> Any:
    from carrara.data.sources.files import read_file

    return read_file(str(path.resolve()), path.parent)


def _say_table(trees: Trees) -> None:
    print_table(
        ["tree", "of", "leaves", "depth", "share of gain", "splits by"],
        [
            (t["tree"], t["output"], t["leaves"], t["depth"], f"{t['gain']:.1%}", _shares(t["features"], 3))
            for t in trees.table()
        ],
    )
    say(f"\nOne of them: carrara model tree {trees.version} --tree 0")


def _say_tree(trees: Trees, view: TreeView, way: Sequence[int]) -> None:
    voting = f" for {view.output}" if view.output is not None else ""
    say(f"{trees.version}, tree {view.tree} of {view.trees}{voting}: {view.leaves} leaves, depth {view.depth}")
    say(f"gain by {_shares(view.gains, 5)}")
    say("columns are as the model's transforms make them\n" if trees.transforms else "")
    known = view.nodes[0].rows is not None
    say(f"{'rows':>8}{'':>10}  {'label':>8}" if known else f"{'weight':>8}")
    for node, branches in zip(view.nodes, _branches(view.nodes), strict=True):
        counted = f"{node.rows:>10,}  {_figure(node.label):>8}" if known else ""
        mark = "●" if node.number in way else " "
        say(f"{node.share:>8.1%}{counted} {mark} {branches}{_said(node)}")
    say()


def _branches(nodes: Sequence[Node]) -> list[str]:
    """What is drawn before each node: lines to those that are still to come."""
    drawn, stems = [], {-1: ""}
    for node in nodes:
        if node.side is None:
            drawn.append("")
            stems[node.number] = ""
            continue
        above = stems[node.parent if node.parent is not None else -1]
        drawn.append(f"{above}{'├' if node.side == 'yes' else '└'}─ {node.side:<3} ")
        stems[node.number] = above + ("│  " if node.side == "yes" else "   ")
    return drawn


def _said(node: Node) -> str:
    if node.value is not None:
        return f"{node.value:+.4g}"
    missing = f", missing: {node.missing}" if node.missing else ""
    return f"{node.rule}   (gain {node.gain:.4g}{missing})"


def _say_path(path: RowPath) -> None:
    total = sum(path.contributions)
    order = sorted(range(len(path.contributions)), key=lambda place: -abs(path.contributions[place]))[:_LARGEST]
    said = ", ".join(f"tree {place} {path.contributions[place]:+.4g}" for place in order)
    say(
        f"row {path.row}: base {_figures(path.base)}, {len(path.contributions)} trees {total:+.4g}, "
        f"margin {_figures(path.margin)}, answer {_figures(path.answer)}"
    )
    say(f"  most by {said}")


def _shares(gains: dict[str, float], most: int) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in list(gains.items())[:most]) or "nothing"


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
