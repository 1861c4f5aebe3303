"""The documents tell the truth: their commands exist, their definitions load, their rooms are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

import carrara
from carrara.cli.main import app
from carrara.core.definitions import load_recorded_definitions
from carrara.features.service import resolve_features

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_documents_exists_with_its_options(page):
    root = typer.main.get_command(app)
    for match in re.finditer(r"^(?:\$ )?carrara .+$|`carrara [^`]+`", page.read_text(), re.MULTILINE):
        words = match[0].strip("`$ ").split("#")[0].split()[1:]
        command = root
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            name = words.pop(0).rstrip(",")
            assert name in command.commands, f"{page.name}: carrara {name} of {match[0]!r}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        options = {word.split("=")[0].strip("[]") for word in words if re.match(r"\[?--", word)}
        assert options <= known, f"{page.name}: {match[0]!r}"


def test_the_definitions_page_is_a_workspace_that_resolves():
    text = (ROOT / "docs" / "definitions.md").read_text()
    source = re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]
    definitions = load_recorded_definitions({"definitions.py": source}, "docs")
    model = definitions.of_kind("model")["late"]
    service = resolve_features(definitions, model.features, where="docs")
    assert service.features == ("depot_state:load", "driver_trips:delay_mean_6h", "trip:far")


def test_the_architecture_names_every_room():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    package = Path(carrara.__file__).parent
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"| `{room}` |" not in text} == set()
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text):
        assert (package / path).is_file(), path


def test_links_between_the_documents_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} → {target}"
