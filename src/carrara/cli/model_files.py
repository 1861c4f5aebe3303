"""`carrara model export`, `import`, `card`: a version as a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say

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
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version as one file, with the digests of all that is in it; or as a model folder of MLflow."""
    with open_workspace(workspace) as ws:
        version = ws.models.get(address)
        named = f"{version.model}-{version.version}"
        if mlflow:
            path = ws.models.export_mlflow(address, output or Path(f"{named}-mlflow"))
        else:
            path = ws.models.export(address, output or Path(f"{named}.carrara"))
    print_json({"path": str(path)}) if as_json else say(f"{version} is in {path}.")


def import_(
    path: Annotated[Path, typer.Argument(help="A file that `carrara model export` wrote.")],
    name: Annotated[str | None, typer.Option(help="Of the model here; by default its own.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Register what `export` wrote; refused when a byte differs. Its definitions run when it is used."""
    with open_workspace(workspace) as ws:
        version = ws.models.import_bundle(path, name)
    print_json(version.as_dict()) if as_json else say(f"{version} registered. Next: carrara model show {version}")


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
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version to the next numbered folder of a base path; exit code 3 where its gates failed."""
    with open_workspace(workspace) as ws:
        version, folder = ws.models.get(address), ws.models.push(address, base)
    print_json({"version": str(version), "folder": str(folder)}) if as_json else say(f"{version} is in {folder}.")
