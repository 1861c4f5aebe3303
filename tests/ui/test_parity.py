"""Whatever the page can change, the command line can too: each action beside the command that does the same."""

from __future__ import annotations

import pytest
import typer

from carrara.cli.main import app
from carrara.ui.actions import ACTIONS

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


def test_every_action_of_the_page_has_a_command():
    assert {action.path for action in ACTIONS} == COMMANDS.keys()


@pytest.mark.parametrize("line", COMMANDS.values())
def test_the_command_exists_with_what_the_form_asks(line):
    command = typer.main.get_command(app)
    words = line.split()
    for word in (word for word in words if not word.startswith("--")):
        command = command.commands[word]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
