"""`carrara demo`: the whole loop, on the flights that left New York in 2013."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import JsonOption
from carrara.cli.output import TerminalProgress, print_json, print_table, say

if TYPE_CHECKING:
    from carrara.demo.run import DemoResult


def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="The workspace to make or go on with; by default flights, or flights-quick.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One month of flights instead of a year.")] = False,
    net: Annotated[bool, typer.Option("--net", help="Train a neural net beside the trees (Keras).")] = False,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the server running.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Will this flight arrive late? From raw tables to monitored predictions, in one command."""
    from carrara.demo.run import run_demo

    target = folder or Path("flights-quick" if quick else "flights")
    if not as_json:
        say(f"Will this flight arrive late? The workspace is {target}.")
    result = run_demo(target, quick=quick, progress=TerminalProgress(quiet=as_json), net=net, keep_serving=keep_serving)
    if as_json:
        print_json(result.as_dict())
        return
    _summary(result)
    _next(result, target)


def _summary(result: DemoResult) -> None:
    told = result.as_dict()
    say()
    say(f"ROC AUC on the held-out flights  {told['roc_auc']:.3f}")
    if told["net_roc_auc"] is not None:
        say(f"a neural net, by Keras           {told['net_roc_auc']:.3f}   (late_arrival_net)")
    say(f"rates per carrier and hour       {told['baseline_roc_auc']:.3f}   (the baseline)")
    say(f"live, on {told['outcomes_joined']:,} outcomes         {told['live_roc_auc']:.3f}")
    say()
    print_table(
        ["week from", "predictions", "late AUC", "score PSI", "features whose drift changes the answers most (PSI)"],
        [
            (
                f"{w.start:%Y-%m-%d}",
                w.predictions,
                (w.metrics or {}).get("roc_auc", {}).get("value"),
                w.score_drift.get("psi"),
                ", ".join(f"{d['feature']} {d['psi']:.2f}" for d in w.drift[:2]),
            )
            for w in result.monitored.windows
            if w.predictions
        ],
    )
    for one in result.firing:
        say(f"\nfiring: {one.rule}   {one.details['description']}")
        for line in one.details["lines"][:3]:
            say(f"  {line}")


def _next(result: DemoResult, target: Path) -> None:
    say()
    say(f"workspace  {result.workspace}   (definitions.py is the whole of it: read it, change it)")
    say(f"report     {result.report}")
    if result.server is not None:
        say(f"server     process {result.server.pid}; stop it with: kill {result.server.pid}")
    grpc_port = result.server.grpc_port if result.server else 8500
    rest_port = result.server.rest_port if result.server else 8501
    flight = '{"carrier": "UA", "tailnum": "N14228", "origin": "EWR", "dest": "IAH", "distance": 1400'
    times = f'"scheduled_departure": "{result.as_of}", "event_time": "{result.as_of}"}}'
    say(f"\nNext, in {target}:")
    if result.server is None:
        say("  carrara serve                                     # then, in another terminal:")
    say(f"  curl -d '{{\"instances\": [{flight}, {times}]}}' \\")
    say(f"    http://127.0.0.1:{rest_port}/v1/models/late_arrival:predict")
    say(f"  python client.py {grpc_port}                            # the same over gRPC")
    say("  carrara model show late_arrival@1                 # the model record")
    say("  carrara monitor show late_arrival                 # live quality and drift")
    say("  carrara plan                                      # after a change of definitions.py")
