"""`carrara train` and `carrara model`: training, and everything about a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli import model_files, model_registry
from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.model_chart import chart, parameters
from carrara.cli.model_compare import compare
from carrara.cli.model_evaluate import evaluate
from carrara.cli.model_flips import flips
from carrara.cli.model_mistakes import mistakes
from carrara.cli.model_safety import safety
from carrara.cli.model_scorecard import scorecard
from carrara.cli.model_tree import tree
from carrara.cli.output import TerminalProgress, print_json, print_table, say

if TYPE_CHECKING:
    from carrara.evaluation.metrics import MetricValue

app = typer.Typer(help="Model versions: list, show, look into, report.", no_args_is_help=True)
app.command("tree")(tree)
app.command("chart")(chart)
app.command("parameters")(parameters)
app.command("compare")(compare)
app.command("evaluate")(evaluate)
app.command("flips")(flips)
app.command("mistakes")(mistakes)
app.command("scorecard")(scorecard)
app.command("safety")(safety)
model_registry.add_to(app)
model_files.add_to(app)

_MOST_METRICS = 8
_MOST_COLUMNS = 20

AddressArgument = Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")]


def train(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    trials: Annotated[int, typer.Option(help="Tune the hyper-parameters first, by so many trials.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="How many trials at a time.")] = 1,
    sampler: Annotated[str, typer.Option(help="How trials are chosen: tpe, random, grid.")] = "tpe",
    start: Annotated[str | None, typer.Option("--from", help="A version whose parameters to begin with.")] = None,
    new_rows: Annotated[
        bool, typer.Option("--new-rows", help="Go on from a version, on the rows that it has not seen.")
    ] = False,
    node: Annotated[
        list[str] | None, typer.Option(help="Train these nodes alone of a partitioned model, such as US/Boston.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many processes share the fit; else as the model's compute says.")
    ] = None,
    servers: Annotated[
        int | None, typer.Option("--ps", min=0, help="How many parameter servers they have (Keras).")
    ] = None,
    cluster: Annotated[Path | None, typer.Option(help="Train on the servers of a cluster.toml, which run.")] = None,
    evaluator: Annotated[
        bool, typer.Option("--evaluator", help="Measure each epoch in a task of its own, beside parameter servers.")
    ] = False,
    min_workers: Annotated[
        int, typer.Option(min=0, help="Go on with so many workers, where others are lost for good; 0: with all.")
    ] = 0,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Train, evaluate, judge and register a model; exit code 3 when a gate failed."""
    from carrara.core.processes import stoppable

    with open_workspace(workspace) as ws, stoppable():
        progress = TerminalProgress(quiet=as_json)
        trained = ws.train(
            model,
            trials=trials,
            jobs=jobs,
            sampler=sampler,
            start=start,
            new_rows=new_rows,
            nodes=node or (),
            workers=workers,
            servers=servers,
            cluster=cluster,
            evaluator=evaluator,
            min_workers=min_workers,
            progress=progress,
        )
        if as_json:
            print_json({**trained.version.as_dict(), "gates": trained.gates, "reused": trained.reused})
        else:
            for result in trained.gates["results"]:
                if not result["passed"]:
                    say(f"  gate failed: {result['message']}")
            state = "is up to date" if trained.reused else "registered"
            say(f"{trained.version} {state}. Next: {_next(trained.version, bool(trained.gates['passed']))}")
    if not trained.gates["passed"]:
        raise typer.Exit(3)


@app.command()
def reproduce(
    address: AddressArgument,
    new_environment: Annotated[
        bool, typer.Option("--new-environment", help="In an environment that is made from the record, by uv or pip.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Build a version again by its record, and compare digests; exit code 3 where something differs."""
    place = None
    with open_workspace(workspace) as ws:
        if new_environment:
            found, place = ws.models.reproduce_in_new_environment(address)
        else:
            found = ws.models.reproduce(address)
    if place is not None and not as_json:
        say(f"  in {place}")
    if as_json:
        print_json({**found.as_dict(), **({"made": str(place)} if place is not None else {})})
    else:
        for one in found.compared:
            say(f"  {one.what:<28}{'equal' if one.equal else 'differs'}  {one.found[:12]}")
        for name, (then, now) in found.environment.items() if not found.equal else ():
            say(f"  {name} was {then or 'not installed'}, and is {now or 'not installed'}")
        say(f"{found.version} is reproduced" if found.equal else f"first difference: {found.first_difference}")
    if not found.equal:
        raise typer.Exit(3)


@app.command()
def backtest(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    origins: Annotated[int, typer.Option(min=1, help="At how many past moments to train.")] = 5,
    every: Annotated[str, typer.Option(help="How far they are apart, and how far each looks ahead.")] = "7d",
    against: Annotated[str | None, typer.Option(help="A feature that is taken for the forecast as it is.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Draw it there: a .svg, .png, .html or .json.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Train at several past moments on what was known then, and judge by what came next; nothing is registered."""
    from carrara.models.drawing import drawn, form_of

    form = form_of(output) if output is not None else ""
    with open_workspace(workspace) as ws:
        progress = TerminalProgress(quiet=as_json)
        found = ws.backtest(model, origins=origins, every=every, against=against, progress=progress)
    if output is not None:
        from carrara.evaluation.charts.vega import stacked

        output.write_bytes(drawn(stacked(found.charts.values()), form))
    if as_json:
        print_json(found.as_dict())
        return
    first = next(iter(found.mean))
    rows = [
        (
            f"{fold.origin:%Y-%m-%d %H:%M}",
            fold.train_rows,
            fold.test_rows,
            *_values(fold.metrics),
            *_values(fold.against)[:1],
        )
        for fold in found.folds
    ]
    print_table(["origin", "train", "test", *found.mean, *([f"{first} of {against}"] if against else [])], rows)
    say("mean: " + ", ".join(f"{name} {value:.4g}" for name, value in found.mean.items()))
    if output is not None:
        say(f"\n{output}")


def _values(metrics: Mapping[str, MetricValue]) -> list[float]:
    return [value.value for value in metrics.values()]


@app.command()
def diff(
    one: AddressArgument, other: AddressArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """What differs between two versions: configuration, data, code, environment, metrics."""
    with open_workspace(workspace) as ws:
        found = ws.models.diff(one, other)
    if as_json:
        print_json([{"field": field, "one": a, "other": b} for field, a, b in found])
        return
    print_table(["field", one, other], [(field, str(a), str(b)) for field, a, b in found])


@app.command()
def trials(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Every trial of a model's hyper-parameters, as they ended."""
    with open_workspace(workspace) as ws:
        found = ws.models.trials(name)
        if as_json:
            print_json([vars(trial) for trial in found])
            return
        parameters = list(dict.fromkeys(parameter for trial in found for parameter in trial.parameters))
        print_table(
            ["study", "trial", "state", "value", *parameters],
            [
                (t.study[:8], t.number, t.state, t.value, *(t.parameters.get(parameter) for parameter in parameters))
                for t in found
            ],
        )


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="One model's versions only.")] = None,
    where: Annotated[str | None, typer.Option(help="""E.g. 'metrics.roc_auc > 0.7 and owner = "ann"'.""")] = None,
    sort: Annotated[
        str | None, typer.Option(help="A field; -FIELD for the largest first. By default the newest.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Versions with their metrics, the newest first."""
    with open_workspace(workspace) as ws:
        found = ws.models.versions(name, where=where, sort=sort or "-registered_at", limit=limit or None, offset=offset)
        if as_json:
            print_json([version.as_dict() for version in found])
            return
        metrics = list(dict.fromkeys(metric for version in found for metric in version.metrics))[:_MOST_METRICS]
        print_table(
            ["model", "registered", "gates passed", *metrics],
            [(str(v), v.registered_at, v.gates_passed, *(v.metrics.get(m) for m in metrics)) for v in found],
        )
        if len(found) == limit and (more := ws.models.count(name, where=where) - offset - limit) > 0:
            say(f"and {more:,} more: --offset {offset + limit}, or --where …")


@app.command()
def show(address: AddressArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The model record: who, when, from what, how good, and where it serves."""
    with open_workspace(workspace) as ws:
        record = ws.models.record(address)
    if as_json:
        print_json(record)
        return
    say(f"{record['model']}@{record['version']}   trained by {record['trained_by']}, {record['started_at'][:19]}")
    sources = ", ".join(f"{name}@{v['version']}" for name, v in record["datasets"]["sources"].items())
    kept, history = record["datasets"]["training_set"], record["summary"].get("imported")
    if kept is None:
        say("not measured here: no dataset was named")
    elif history:
        say(f"measured on {kept['rows']:,} rows of {sources}")
    else:
        say(f"from {sources}; training set {kept['rows']:,} rows")
    if history:
        say(f"imported from {history['origin']} by {history['imported_by']}; run {history['run'] or 'not known'}")
        print_table(["metric there", "value"], list(history["metrics"].items()))
    test, baseline = record["metrics"]["test"], record["metrics"]["baseline"]
    print_table(
        ["metric", "test", "from", "to", "baseline"],
        [(m, v["value"], v["low"], v["high"], baseline.get(m, {}).get("value")) for m, v in test.items()],
    )
    say()
    for result in record["gates"]["results"]:
        say(f"  {'passed' if result['passed'] else 'FAILED'}  {result['message']}")
    say()
    features = sorted(record["features"], key=lambda feature: -feature["importance"])[:10]
    print_table(["most important features", "share of gain"], [(f["name"], f["importance"]) for f in features])
    _show_transforms(record)
    for decision in record["approvals"]:
        say(f"\n{decision['decision']} by {decision['by']}, {decision['at'][:19]}: {decision['reason']}")
    for deployment in record["deployments"]:
        say(f"\nserves {deployment['endpoint']} from {deployment['from'][:19]} to {deployment['to'] or 'now'}")


@app.command()
def report(
    address: AddressArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default reports/NAME-VERSION.html.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write the record as one self-contained HTML page, and print where it is."""
    with open_workspace(workspace) as ws:
        path = str(ws.models.report(address, output))
    print_json({"report": path}) if as_json else say(path)


def _show_transforms(record: Mapping[str, Any]) -> None:
    """What the transforms made of the features, and of how many days they had to be read."""
    columns = record["summary"].get("transformed") or []
    if not columns:
        return
    say()
    before = {feature["name"]: feature["statistics"] for feature in record["features"]}
    rows = []
    for column in columns[:_MOST_COLUMNS]:
        of = before.get(column["name"], {})
        after = column["statistics"]
        rows.append((column["name"], *((of.get(m), after.get(m)) for m in ("nulls", "mean", "std", "min", "max"))))
    heads = [f"{name}{when}" for name in ("nulls", "mean", "std", "min", "max") for when in ("", " after")]
    print_table(["the train part before and after transforms", *heads], [(r[0], *sum(r[1:], ())) for r in rows])
    if len(columns) > _MOST_COLUMNS:
        say(f"and {len(columns) - _MOST_COLUMNS:,} columns more: --json")
    if told := record["summary"].get("analyses"):
        say(f"learned from {told['days']:,} days, of which {len(told['read']):,} were read")


def _next(version: object, passed: bool) -> str:
    return f"carrara deploy {version}" if passed else f"carrara model report {version}"
