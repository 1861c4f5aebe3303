"""`carrara lineage`: up and down from a model, a dataset, a feature or a prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say


def lineage(
    what: Annotated[
        str,
        typer.Argument(
            help="late@1, models:/late@champion, dataset:trips@2, trips, VIEW:FEATURE, a prediction's id, PATH."
        ),
    ],
    only: Annotated[
        str | None, typer.Option(help="Of one kind, without the way: dataset, training_set, model, endpoint, file, …")
    ] = None,
    hops: Annotated[int | None, typer.Option(min=1, help="How far; by default to the ends.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What something was made from, and what was made of it, as a tree each way."""
    with open_workspace(workspace) as ws:
        traced = ws.trace(what, hops=hops)
    if only is not None:
        sources, targets = traced.sources(only), traced.targets(only)
        if as_json:
            print_json({"address": traced.address, "only": only, "made_from": sources, "made_into": targets})
        for address in (*sources, *targets) if not as_json else ():
            say(address)
        return
    found = traced.as_dict()
    if as_json:
        print_json(found)
        return
    for title, tree in (("made from", found["made_from"]), ("made into", found["made_into"])):
        if tree["next"]:
            say(f"{found['address']} is {title}")
            for line in _lines(tree["next"], ""):
                say(line)
    if not found["made_from"]["next"] and not found["made_into"]["next"]:
        say(f"{found['address']} has no lineage.")


def _lines(branches: list[Mapping[str, Any]], indent: str) -> Iterator[str]:
    for branch in branches:
        last = branch is branches[-1]
        yield f"{indent}{'└─' if last else '├─'} {branch['address']}{'  (as above)' if branch['shown_above'] else ''}"
        yield from _lines(branch["next"], indent + ("   " if last else "│  "))
