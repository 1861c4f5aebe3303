"""`carrara model compare`: versions on the same test rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from carrara.evaluation.paired import PairedDifference


def compare(
    first: Annotated[str, typer.Argument(help="The version whose test rows are asked: NAME@3 or NAME@ALIAS.")],
    others: Annotated[list[str], typer.Argument(help="Versions to put beside it.")],
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Look at the values of this column as well; several times.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help='And at the rows where this SQL holds: "distance > 2000".')
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write an HTML page there.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Metrics with intervals of their differences, answers, slices that win and lose, and what made them differ."""
    from carrara.evaluation.disagreement import FLIPS

    with open_workspace(workspace) as ws:
        found = ws.models.compare(first, *others, slices=[*(slices or ()), {sql: sql for sql in where or ()}])
        if output is not None:
            from carrara.models.comparison_page import render_comparison

            output.write_text(render_comparison(found.as_dict()), encoding="utf-8")
    if as_json:
        print_json(found.as_dict())
        return
    say(f"on the same {found.rows:,} test rows, those of {found.first}")
    for other in found.others:
        say()
        for warning in other.warnings:
            say(f"careful: {warning}")
        print_table(
            ["metric", found.first, other.version, "difference", "from", "to", "beyond chance"],
            [(name, *_figures(paired)) for name, paired in other.metrics.items()],
        )
        answers = other.answers
        if other.flips:
            rate, away, back = (other.flips[name] for name in FLIPS)
            say(
                f"{rate.value:.2%} [{rate.low:.2%}, {rate.high:.2%}] of the answers turn:"
                f" {away.value:.2%} from positive to negative, {back.value:.2%} from negative to positive"
            )
        say(
            f"{answers.other_answers:,} rows are answered otherwise: only {found.first} is right for"
            f" {answers.only_one_right:,}, only {other.version} for {answers.only_other_right:,}"
        )
        asked = [s for s in other.slices if s.column in {*(slices or ()), *(where or ())}]
        if asked:
            print_table(
                ["slice", "rows", found.first, other.version, "difference", "from", "to", "beyond chance"],
                [(f"{s.column} = {s.value}", s.rows, *_figures(s.difference)) for s in asked],
            )
        for verdict in ("wins", "loses"):
            there = [s for s in other.slices if s.verdict == verdict]
            if there:
                named = ", ".join(f"{s.column} = {s.value} ({s.difference.difference:+.3g})" for s in there)
                say(f"{verdict} where {named}")
        say(f"{len(other.configuration):,} differences in configuration, data and code: carrara model diff")
    if found.segments:
        say(f"\nsegments by {found.loss}, from well to badly predicted by all of them")
        versions = [found.first, *(other.version for other in found.others)]
        print_table(
            ["share of rows", *versions, "differs from the rest by"],
            [(f"{one['share']:.0%}", *one["losses"], _differs_by(one)) for one in found.segments],
        )
    if output is not None:
        say(f"\n{output}")


def _figures(paired: PairedDifference) -> tuple[float | bool, ...]:
    return paired.one, paired.other, paired.difference, paired.low, paired.high, paired.differs


def _differs_by(segment: Mapping[str, Any]) -> str:
    """The values that are most over-represented in a segment."""
    return "; ".join(
        f"{one['feature']} = {one['value']} ({one['share']:.0%}, elsewhere {one['elsewhere']:.0%})"
        for one in segment["features"][:2]
    )
