"""Whatever the page can change, the command line can too: each action beside the command that does the same."""

from __future__ import annotations

import pytest
import typer

from carrara.cli.main import app
from carrara.ui.actions import ACTIONS
from carrara.ui.pages import PAGES

COMMANDS = {
    "/datasets/{name}/schema/accept": "dataset schema update",
    "/runs/{run}/stop": "run stop",
    "/runs/{run}/resume": "run resume",
    "/models/{name}/train": "train",
    "/models/{name}/{version}/deploy": "deploy --to",
    "/models/{name}/{version}/canary": "deploy --to --canary --for",
    "/models/{name}/silence": "monitor silence --for --rule --reason",
    "/models/{name}/{version}/alias": "model alias",
    "/models/{name}/{version}/approve": "model approve --reason",
    "/models/{name}/{version}/reject": "model reject --reason",
    "/models/{name}/{version}/override": "model override --reason",
    "/endpoints/{name}/shadow": "deploy --to --shadow",
    "/endpoints/{name}/split": "deploy --to --split",
    "/endpoints/{name}/roll-back": "rollback --reason",
}


READS = {
    "/": "doctor",
    "/datasets": "dataset list",
    "/datasets/{name}": "dataset show",
    "/datasets/{name}/{version}": "dataset show",
    "/datasets/{name}/diff": "dataset diff",
    "/datasets/{name}/schema": "dataset schema show",
    "/datasets/{name}/schema/proposal": "dataset schema update",
    "/features": "feature list",
    "/features/{feature}": "feature show",
    "/features/{feature}/over-time": "feature show",
    "/runs": "run list",
    "/runs/{run}": "run show",
    "/runs/compare": "run compare",
    "/models": "model list",
    "/models/{name}": "model list",
    "/models/{name}/{version}": "model show",
    "/models/{name}/{version}/trees": "model tree",
    "/models/{name}/compare": "model compare",
    "/models/{name}/trials": "model trials",
    "/endpoints": "endpoint list",
    "/endpoints/{name}": "endpoint show",
    "/monitoring": "monitor alerts",
    "/monitoring/{name}/{version}": "monitor show",
    "/monitoring/{name}/{version}/predictions/{prediction}": "monitor prediction",
    "/lineage": "lineage",
    "/schedules": "scheduler",
    "/audit": "audit list",
}


def command_of(line: str):
    command = typer.main.get_command(app)
    for word in (word for word in line.split() if not word.startswith("--")):
        command = command.commands[word]
    return command


def options_of(command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_every_page_has_a_command_that_prints_it_as_json():
    """M54: what is seen on the page is read by a script as well; its address with .json is the API."""
    assert {page.path for page in PAGES} == READS.keys()
    assert [line for line in READS.values() if "--json" not in options_of(command_of(line))] == []


def test_every_action_of_the_page_has_a_command():
    assert {action.path for action in ACTIONS} == COMMANDS.keys()


@pytest.mark.parametrize("line", COMMANDS.values())
def test_the_command_exists_with_what_the_form_asks(line):
    asked = {word for word in line.split() if word.startswith("--")}
    assert asked <= options_of(command_of(line))
