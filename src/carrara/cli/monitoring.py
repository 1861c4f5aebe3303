"""`carrara monitor`: live quality and drift."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.clock import duration

app = typer.Typer(help="Live quality and drift of what was predicted.", no_args_is_help=True)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="NAME (the champion), NAME@3 or NAME@ALIAS.")],
    window: Annotated[str, typer.Option(help="The length of a window.")] = "7d",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Join the prediction log with the outcomes known by now; quality and drift by window."""
    with open_workspace(workspace) as ws:
        report = ws.monitor(model, window=duration(window))
    if as_json:
        print_json(report.as_dict())
        return
    say(f"{report.model}@{report.version}   {report.predictions:,} predictions, {report.outcomes:,} outcomes")
    live = report.metrics or {}
    print_table(
        ["metric", "live", "evaluation"],
        [(m, live.get(m, {}).get("value"), v["value"]) for m, v in report.evaluation.items()],
    )
    say()
    print_table(
        ["window from", "predictions", "outcomes", "roc_auc", "score PSI", "drifted most", "PSI"],
        [
            (
                f"{w.start:%Y-%m-%d}",
                w.predictions,
                w.outcomes,
                (w.metrics or {}).get("roc_auc", {}).get("value"),
                w.score_drift["psi"],
                w.drift[0]["feature"] if w.drift else None,
                w.drift[0]["psi"] if w.drift else None,
            )
            for w in report.windows
        ],
    )
