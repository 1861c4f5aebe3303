"""`carrara model flips`: how often answers turn when two values of a feature stand for each other."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.errors import DefinitionError


def flips(
    address: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")],
    swap: Annotated[
        list[str], typer.Option("--swap", help="FEATURE=ONE,OTHER: several are swapped together.", show_default=False)
    ],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Ask the test rows twice, with two values of a feature exchanged: how often the answer turns, and where."""
    with open_workspace(workspace) as ws:
        found = ws.models.flips(address, dict(map(_pair, swap)))
    if as_json:
        print_json(found.as_dict())
        return
    say(f"{found.version}: {found.asked:,} of {found.rows:,} test rows asked twice, {found.swap.name}")
    print_table(
        ["", "share of rows", "from", "to"],
        [(name.replace("_", " "), one.value, one.low, one.high) for name, one in found.metrics.items()],
    )
    turned = [one for one in found.slices if one.metrics["flip_rate"].value > 0]
    if turned:
        say()
        figures = ((one, one.metrics["flip_rate"]) for one in turned)
        print_table(
            ["slice", "rows", "flip rate", "from", "to"],
            [(f"{one.column} = {one.value}", one.rows, rate.value, rate.low, rate.high) for one, rate in figures],
        )
    if found.examples:
        say(f"\nrows whose answer turned (threshold {found.threshold:g}), those that moved most")
        print_table(list(found.examples[0]), [tuple(row.values()) for row in found.examples])


def _pair(text: str) -> tuple[str, list[str]]:
    name, _, values = text.partition("=")
    both = values.split(",")
    if not name or len(both) != 2 or not all(both):
        raise DefinitionError(f"'{text}' is no swap", hint="--swap driver:sex=f,m")
    return name, both
