"""`carrara model evaluate`: a version measured and judged again, as a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say


def evaluate(
    address: Annotated[str | None, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS; else the configuration's.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A .yaml or .toml: metrics, slices, gates, rows.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The version to hold it against; else the champion.")] = None,
    since: Annotated[str | None, typer.Option(help="On the labelled rows since then, not on its test rows.")] = None,
    until: Annotated[str | None, typer.Option(help="And before then.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the report, the figures, and BLESSED or not.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Measure and judge a version as its training did, or as --config says; exit code 3 when a gate failed."""
    from carrara.pipelines.evaluation_config import EvaluationConfig, read_evaluation

    said: dict[str, Any] = read_evaluation(config) if config is not None else {}
    named = {"model": address, "baseline": baseline, "since": since, "until": until}
    said |= {name: value for name, value in named.items() if value is not None}
    with open_workspace(workspace) as ws:
        found = ws.models.evaluate(EvaluationConfig.of(said, str(config or "the evaluation")))
    if output is not None:
        from carrara.models.evaluation_folder import write_evaluation

        write_evaluation(output, found.as_dict(), found.as_record())
    if as_json:
        print_json(found.as_dict())
    else:
        say(f"{found.version} on {found.rows['rows']:,} rows, {found.rows['from'][:19]} to {found.rows['to'][:19]}")
        for warning in found.warnings:
            say(f"careful: {warning}")
        baselines = found.evaluation.baseline
        print_table(
            ["metric", "value", "from", "to", "baseline"],
            [
                (name, one.value, one.low, one.high, baselines[name].value if name in baselines else None)
                for name, one in found.evaluation.metrics.items()
            ],
        )
        for result in found.gates["results"]:
            say(f"  {'passed' if result['passed'] else 'FAILED'}  {result['message']}")
        if output is not None:
            say(f"\n{output / 'report.html'}")
    if not found.blessed:
        raise typer.Exit(3)
