"""`carrara monitor`: windows of predictions, outcomes, alerts, and one prediction explained."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.clock import duration, long_text
from carrara.core.errors import CarraraError

if TYPE_CHECKING:
    from carrara.monitoring.live import MonitorReport

app = typer.Typer(help="Live quality, drift and alerts of what was predicted.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="NAME (the champion), NAME@3 or NAME@ALIAS.")]
WindowOption = Annotated[str | None, typer.Option("--window", help="The length of a window; by default the monitor's.")]


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(help="A model's name; by default all that serve.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how every rule stands; tell nobody, do nothing.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Compute the windows that have changed, bring alerts up to date, tell what is new, and do what follows."""
    with open_workspace(workspace) as ws:
        if dry_run:
            named = [model] if model else [deployment.model for deployment in ws.deployments()]
            found = {name: ws.monitoring.would_fire(name) for name in dict.fromkeys(named)}
            if as_json:
                print_json({name: [one.as_dict() for one in standings] for name, standings in found.items()})
                return
            print_table(
                ["model", "rule", "state", "windows", "of", "then"],
                [
                    (name, one.alert.rule, one.state, one.windows, one.alert.for_windows, one.alert.then)
                    for name, standings in found.items()
                    for one in standings
                ],
            )
            return
        done = ws.monitoring.run(model)
    if as_json:
        print_json([one.as_dict() for one in done])
        return
    for one in done:
        if not one.ran:
            say(f"  {one.model:<24}no predictions")
        for ran in one.ran:
            failed = f", {len(ran.failed)} failed: {ran.failed[0][1]}" if ran.failed else ""
            say(f"  {ran.version:<24}{len(ran.computed)} windows computed{failed}")
            for alert, _ in ran.begun:
                say(f"  {'':<24}firing: {alert.rule}  {alert.description}")
        for followed in one.followed:
            say(f"  {'':<24}{followed.then}: {followed.did or followed.error}")


@app.command()
def show(
    model: ModelArgument,
    window: WindowOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What is recorded of a version: quality, drift and health by window; one that nobody has computed says so."""
    with open_workspace(workspace) as ws:
        report = ws.monitoring.show(model, window=window)
    print_json(report.as_dict()) if as_json else _show(report)


def _show(report: MonitorReport) -> None:
    say(f"{report.model}@{report.version}   {report.predictions:,} predictions, {report.outcomes:,} outcomes")
    live = report.metrics or {}
    print_table(
        ["metric", "live", "from", "to", "evaluation"],
        [
            (m, *(live.get(m, {}).get(part) for part in ("value", "low", "high")), v["value"])
            for m, v in report.evaluation.items()
        ],
    )
    say()
    main = next(iter(report.evaluation), "")
    measured = ("predictions", "outcomes", main, "estimated", "score PSI", "changes most", "effect")
    print_table(
        ["window from", "health", "state", *measured],
        [
            (
                f"{w.start:%Y-%m-%d %H:%M}",
                w.health,
                w.state,
                w.predictions,
                w.outcomes,
                ((w.metrics or {}).get(main) or {}).get("value"),
                _between((w.result.get("estimated") or {}).get(main)),
                w.score_drift.get("psi"),
                w.drift[0]["feature"] if w.drift else None,
                w.drift[0]["effect"] if w.drift else None,
            )
            for w in report.windows
        ],
    )
    if any(w.holds for w in report.windows):
        say("\nrules that held:")
    for w in report.windows:
        if w.holds:
            say(f"  {w.start:%Y-%m-%d %H:%M}{' so far' if w.state == 'open' else ''}  {'; '.join(w.holds)}")
    for alert in report.alerts:
        if alert.state != "resolved":
            say(f"\n{alert.state}: {alert.rule}")
            for line in alert.details.get("lines", ()):
                say(f"  {line}")
    if report.losses:
        say(f"\n{sum(loss.rows for loss in report.losses):,} predictions were answered and are not in the log.")
    if any(w.state in ("not computed", "changed") for w in report.windows) or not report.windows:
        say(f"\nNot all windows are computed: carrara monitor run {report.model}")


def _between(estimate: dict[str, Any] | None) -> str | None:
    """An estimate as its interval: what it will probably be."""
    if not estimate or estimate["value"] is None:
        return None
    ends = [one for one in (estimate["low"], estimate["high"]) if one is not None]
    return " – ".join(f"{one:.3g}" for one in ends or [estimate["value"]])


@app.command()
def report(
    model: ModelArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="By default reports/monitor-NAME-VERSION.html.")
    ] = None,
    window: WindowOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write the recorded windows as one self-contained HTML page, and print where it is."""
    with open_workspace(workspace) as ws:
        path = str(ws.monitoring.report(model, output, window=window))
    print_json({"report": path}) if as_json else say(path)


@app.command()
def publish(
    model: Annotated[str, typer.Argument(help="The model.")],
    to: Annotated[str, typer.Option(help="The brokers: HOST:PORT, several with commas between.")],
    topic: Annotated[str, typer.Option(help="The topic, which is there.")],
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of librdkafka; a value env:NAME is taken from the environment. May be repeated."),
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="Write what is logged now, and end.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write logged predictions to a topic of Kafka, each once, until told to stop; it goes on where it stopped."""
    from carrara.features.streams.kafka import Kafka

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    def told(count: int) -> None:
        if as_json:
            print_json({"model": model, "topic": topic, "published": count})
        elif count or until_empty:
            say(f"  {model:<24} {count:>8,} predictions to {topic}")

    with open_workspace(workspace) as ws:
        ws.monitoring.publish(
            model, Kafka(to, topic=topic, options=_options(option or [])), stopping, told, until_empty=until_empty
        )


def _options(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text.strip("="):
            raise CarraraError(f"'{text}' is no option of Kafka", hint="Write NAME=VALUE, e.g. security.protocol=SSL.")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


@app.command()
def alerts(
    model: Annotated[str | None, typer.Argument(help="A model's name; by default all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What is pending and what fires, with what moved most; exit code 3 when something fires."""
    with open_workspace(workspace) as ws:
        found = ws.monitoring.alerts(model, open_only=not everything)
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        print_table(
            ["state", "model", "rule", "windows", "since", "changed most"],
            [
                (
                    one.state,
                    f"{one.model}@{one.version}",
                    one.rule,
                    one.windows,
                    one.firing_at or one.pending_at,
                    ", ".join(one.details.get("features", ())[:3]),
                )
                for one in found
            ],
        )
    if any(one.state == "firing" for one in found):
        raise typer.Exit(3)


@app.command()
def silence(
    model: Annotated[str, typer.Argument(help="A model's name.")],
    lasting: Annotated[str, typer.Option("--for", help="How long, such as 12h.")] = "1d",
    rule: Annotated[str | None, typer.Option("--rule", help="Only of this rule.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")] = "",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Tell nobody of a model's alerts for a while; their states go on."""
    with open_workspace(workspace) as ws:
        made = ws.monitoring.silence(model, duration(lasting), rule=rule, reason=reason)
    print_json(made.as_dict()) if as_json else say(f"{model} is silent until {made.until:%Y-%m-%d %H:%M} UTC.")


@app.command()
def outcomes(
    model: ModelArgument,
    source: Annotated[str, typer.Argument(help="A CSV, Parquet or JSON lines file, or a dataset's name.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Hand in what then happened: prediction_id, or entity keys and event_time; and outcome."""
    with open_workspace(workspace) as ws:
        found = ws.monitoring.outcomes(model, source)
    if as_json:
        print_json(found.as_dict())
        return
    parts = [f"{found.new:,} new", f"{found.corrected:,} of them corrections", f"{found.repeated:,} known before"]
    say(f"{found.rows:,} outcomes: {', '.join(parts)}")
    if found.unknown:
        say(f"{found.unknown:,} are of predictions that are not in the log (yet); they count when these are.")
    if found.early:
        say(f"{found.early:,} were known before their prediction was made: is a clock wrong?")


@app.command()
def prediction(
    prediction_id: Annotated[str, typer.Argument(help="The id that the log has.", metavar="ID")],
    model: Annotated[str | None, typer.Option("--model", help="Of this model; by default it is looked for.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """From an answer back to the rows that made it: features, sources, contributions, the way through the trees."""
    with open_workspace(workspace) as ws:
        found = ws.monitoring.prediction(prediction_id, model=model)
    print_json(found.as_dict()) if as_json else _explained(found)


def _explained(found: Any) -> None:
    say(f"{found.prediction_id}   {found.version}, answered {found.event_time:%Y-%m-%d %H:%M:%S} UTC")
    said = ", ".join(f"{name} {_short(value)}" for name, value in found.answer.items())
    outcome = "not known yet" if found.outcome is None else found.outcome
    say(f"answer: {said}   outcome: {outcome}")
    say("request: " + ", ".join(f"{name}={value}" for name, value in found.request.items()))
    say()
    print_table(
        ["feature", "value", "contribution", "typical", "from"],
        [(f.name, f.value, f.contribution, f.typical, f.source) for f in found.features],
    )
    for row in found.sources:
        say(f"\n{row.view}: {row.table}, of {', '.join(row.datasets)}")
        said = ", ".join(f"{name}={value}" for name, value in row.values.items())
        said = said or f"the newest of {len(row.events)} events that are in --json"
        age = long_text((found.event_time - row.event_time).total_seconds())
        say(f"  row of {row.event_time:%Y-%m-%d %H:%M:%S}, {age} old, known {row.known_at:%Y-%m-%d %H:%M:%S}: {said}")
    if found.path:
        say(f"\ntree {found.tree}, which moved it most: " + " → ".join(found.path))
    if found.neighbours:
        say("\nnearest training rows:")
        print_table(
            ["distance", "label", *list(found.neighbours[0]["features"])[:4]],
            [(n["distance"], n["label"], *list(n["features"].values())[:4]) for n in found.neighbours],
        )
    say(f"\nContributions are {found.contributions_by}.")
    _made_by(found)


def _made_by(found: Any) -> None:
    """The version behind an answer: from which rows, with which code, by whose leave."""
    model = found.model
    kept, code = model["datasets"]["training_set"], model["code"]
    revision = f"code {code['revision'][:12]}" if code["revision"] else "code of no git revision"
    changed = ", with uncommitted changes" if code["uncommitted"] else ""
    said = [f"{one['decision']} by {one['by']} on {one['at'][:10]}" for one in model["approvals"]]
    say(f"{found.version}: trained by {model['trained_by']} on {model['ended_at'][:10]}, {revision}{changed}")
    if kept is not None:
        say(f"  on training set {kept['version']}: {kept['rows']:,} rows until {kept['until']}, {kept['digest'][:12]}")
    say(f"  {', '.join(said) or 'approved by nobody'}; all of it: carrara model show {found.version}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
