"""`carrara model chart`: a chart of a version as a picture, a page or data; and what it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say


def chart(
    address: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")],
    name: Annotated[str | None, typer.Argument(help="The chart, or how it begins: roc; by default a list.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .svg, .png, .html or .json; by default the spec is printed."),
    ] = None,
    feature: Annotated[str | None, typer.Option(help="Whose dependence and distribution.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """A chart of a version, drawn offline: ROC, calibration, thresholds, slices, contributions, dependence."""
    from carrara.models.drawing import chart_named, drawn, form_of

    with open_workspace(workspace) as ws:
        charts = ws.models.charts(address, feature=feature)
    if name is None:
        if as_json:
            print_json(list(charts))
        else:
            print_table(["chart", "title", ""], [(one, *_title(spec)) for one, spec in charts.items()])
        return
    spec = chart_named(charts, name)
    if output is None:
        print_json(spec)
        return
    data = drawn(spec, form_of(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(data)
    print_json({"chart": str(output)}) if as_json else say(str(output))


def parameters(
    address: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")],
    node: Annotated[str | None, typer.Option(help="Of a partitioned model: whose parameters.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What a version has learned, read without its framework: coefficients, centres, layers, or trees."""
    with open_workspace(workspace) as ws:
        found = ws.models.parameters(address, node=node)
    if as_json:
        print_json(found)
    elif found["kind"] == "linear":
        outputs = found["classes"] or ["coefficient"]
        outputs = outputs if len(found["intercepts"]) > 1 else ["coefficient"]
        rows = [(one["column"], *one["coefficients"]) for one in found["coefficients"]]
        print_table(["column", *outputs], [("(intercept)", *found["intercepts"]), *rows])
    elif found["kind"] == "clusters":
        clusters = [f"cluster {number}" for number in range(len(found["rows"]))]
        rows = [(one["column"], *one["centres"]) for one in found["centres"]]
        print_table(["column", *clusters], [("(rows)", *found["rows"]), *rows])
    elif found["kind"] in ("net", "graph"):
        print_table(
            ["layer", "shape", "parameters", "mean", "std", "least", "greatest"],
            [
                (
                    one["layer"],
                    " × ".join(map(str, one["shape"])),
                    *(one[figure] for figure in ("parameters", "mean", "std", "min", "max")),
                )
                for one in found["layers"]
            ],
        )
        say(f"\n{found['parameters']:,} parameters")
    elif found["kind"] == "trees":
        say(f"{found['trees']:,} trees, {found['leaves']:,} leaves, depth {found['depth']}")
        say(f"Each of them: carrara model tree {address}")
    else:
        for name, size in found["files"].items():
            say(f"{name:<24}{size:>12,} bytes")


def _title(spec: dict[str, Any]) -> tuple[str, str]:
    title = spec["title"]
    return (title, "") if isinstance(title, str) else (title["text"], title.get("subtitle", ""))
