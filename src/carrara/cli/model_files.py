"""`carrara model export`, `import`, `card`: a version as a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import TerminalProgress, print_json, say

AddressArgument = Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")]


def add_to(app: typer.Typer) -> None:
    app.command()(export)
    app.command("import")(import_)
    app.command()(card)
    app.command()(push)


def export(
    address: AddressArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default NAME-VERSION.carrara.")] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="As a folder that MLflow opens.")] = False,
    to_mlflow: Annotated[
        str | None, typer.Option("--to-mlflow", help="As a run and a registered model of a server: http://HOST:PORT.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="There; by default of the model's name.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the registered model there; by default its own.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version as one file, with the digests of all that is in it; or as a model folder of MLflow, or to one of
    its tracking servers."""
    if to_mlflow is not None:
        if mlflow or output is not None:
            raise typer.BadParameter("what is written to a server is in no folder: leave --mlflow and --output out")
        with open_workspace(workspace) as ws:
            logged = ws.models.log_mlflow(address, to_mlflow, experiment=experiment, name=name)
        told = f"{logged.address} of {logged.server}, run {logged.run_id} of the experiment '{logged.experiment}'"
        print_json(logged.as_dict()) if as_json else say(told)
        return
    if experiment or name:
        raise typer.BadParameter("only a server has experiments and names: add --to-mlflow")
    with open_workspace(workspace) as ws:
        version = ws.models.get(address)
        named = f"{version.model}-{version.version}"
        if mlflow:
            path = ws.models.export_mlflow(address, output or Path(f"{named}-mlflow"))
        else:
            path = ws.models.export(address, output or Path(f"{named}.carrara"))
    print_json({"path": str(path)}) if as_json else say(f"{version} is in {path}.")


def import_(
    source: Annotated[str, typer.Argument(help="A file that `carrara model export` wrote; or with --mlflow MLflow's.")],
    name: Annotated[str | None, typer.Option(help="Of the model here; by default its own.")] = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="From a model's folder, mlruns, sqlite:///mlflow.db, or a server.")
    ] = False,
    which: Annotated[
        str | None, typer.Option(help="Which of a store's models: models:/NAME@ALIAS, runs:/RUN/model, or m-….")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="A dataset with its inputs and the label, to measure it.")] = None,
    label: Annotated[str | None, typer.Option(help="The column that it predicts.")] = None,
    time: Annotated[str | None, typer.Option(help="The column that says when each row is predicted.")] = None,
    known_at: Annotated[str | None, typer.Option(help="The column that says when its label became known.")] = None,
    slices: Annotated[list[str] | None, typer.Option("--slice", help="A column to judge by, several times.")] = None,
    kind: Annotated[str | None, typer.Option(help="binary, multiclass or regression; else as it tells.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Register what `export` wrote; refused when a byte differs. Its definitions run when it is used.

    With --mlflow a model of MLflow, in ONNX, of XGBoost or LightGBM, a SavedModel or a program of torch.export; what
    would have to be unpickled is refused. Its inputs are what a request tells. Exit code 3 when a gate failed.
    """
    if not mlflow and any((which, dataset, label, time, known_at, slices, kind)):
        raise typer.BadParameter("only a model of MLflow is measured at its import: add --mlflow")
    if (any((label, time, known_at, slices)) and not dataset) or (dataset and not (label and time)):
        raise typer.BadParameter("a model is measured on --dataset by its --label at its --time: name all three")
    with open_workspace(workspace) as ws:
        if mlflow:
            version = ws.models.import_mlflow(
                source,
                name,
                which=which,
                kind=kind,
                dataset=dataset,
                label=label,
                time=time,
                known_at=known_at,
                slices=slices or (),
                progress=TerminalProgress(quiet=as_json),
            )
        else:
            version = ws.models.import_bundle(Path(source), name)
    print_json(version.as_dict()) if as_json else say(f"{version} registered. Next: carrara model show {version}")
    if mlflow and not version.gates_passed:
        raise typer.Exit(3)


def card(
    address: AddressArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default it is printed.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The model card: YAML in front and Markdown, as Hugging Face's hub reads them."""
    with open_workspace(workspace) as ws:
        text = ws.models.card(address)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"card": text})
    else:
        say(str(output) if output is not None else text)


def push(
    address: AddressArgument,
    base: Annotated[Path, typer.Argument(help="The folder that `carrara serve --model_base_path` or another polls.")],
    warm_up: Annotated[
        int,
        typer.Option("--warm-up", min=0, max=100, help="With requests for so many test rows, run before it serves."),
    ] = 0,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version to the next numbered folder of a base path; exit code 3 where its gates failed."""
    with open_workspace(workspace) as ws:
        version, folder = ws.models.get(address), ws.models.push(address, base, warm_up=warm_up)
    print_json({"version": str(version), "folder": str(folder)}) if as_json else say(f"{version} is in {folder}.")
