"""What cannot be learned, through the workspace: a sentence, and a run whose record says how it ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from carrara.core.errors import CarraraError, MissingExtra
from carrara.workspace.workspace import Workspace
from commands import carrara

EXTRA = """
@carrara.dataset(inputs=("trips",))
def told(trips):
    return trips.with_columns(late={late})
"""
CLASSES = {'known_at="ended_at"': 'known_at="ended_at", kind="multiclass"'}
CASES = {
    "a constant label": ("nw.lit(True)", {}, r"every label in the train part of 'late' is True"),
    "one class alone": (
        "nw.lit('in time')",
        CLASSES,
        r"train part of 'late' has only the class in time",
    ),
    "a class that is missing in the train part": (
        "nw.when(nw.col('at').dt.date() > date(2024, 1, 16)).then(nw.lit('new')).when(nw.col('late'))"
        ".then(nw.lit('late')).otherwise(nw.lit('in time'))",
        {
            'known_at="ended_at"': 'known_at="ended_at", kind="multiclass"',
            "import carrara": "from datetime import date\n\nimport carrara",
        },
        r"validation part of 'late' has classes that the train part does not have: new",
    ),
    "a label that is also a feature": (
        "nw.col('distance') > 50",
        {'features=("depot_state", "driver_trips", "trip")': 'features=("trip:far", "trip:loaded_km")'},
        r"the feature 'trip:far' is the label itself",
    ),
    "a feature that is all null": (
        "nw.col('late')",
        {'ttl="2d"': 'ttl="1s"'},
        r"'depot_state:load' is missing in every training row",
    ),
}
OTHER = {
    'metrics=("roc_auc", "log_loss", "brier"),': "",
    'gates=(carrara.at_least("roc_auc", 0.5),),': "",
    'dataset="trips"': 'dataset="told"',
}


def declared(folder: Path, late: str, changes: dict[str, str]) -> None:
    path = folder / "definitions.py"
    text = path.read_text()
    for before, after in {**OTHER, **changes}.items():
        assert before in text, before
        text = text.replace(before, after, 1)
    path.write_text(text.replace("\nlate = carrara.Model(", EXTRA.format(late=late) + "\n\nlate = carrara.Model(", 1))


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_learned_is_a_sentence_and_a_failed_run(fresh, name):
    late, changes, said = CASES[name]
    declared(fresh.root, late, changes)
    with Workspace(fresh.root) as workspace:
        with pytest.raises(CarraraError, match=said) as raised:
            workspace.train("late")
        assert raised.value.hint
        (run,) = workspace.runs("train")
        assert run.state == "failed"
        assert raised.value.message in run.error
        assert workspace.models.versions() == []


def test_an_extra_that_is_not_installed_is_named_with_how_to_install_it(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(
        MissingExtra, match=r"(?s)trainer 'xgboost' needs the library 'xgboost'.*pip install 'carrara\[xgboost\]'"
    ):
        fresh.train("late")
    assert fresh.runs("train")[0].state == "failed"


def test_the_command_line_prints_the_sentence_and_no_traceback(fresh):
    declared(fresh.root, "nw.lit(True)", {})
    done = carrara("train", "late", "-w", fresh.root)
    assert done.returncode == 1
    assert "error: every label in the train part of 'late' is True" in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = json.loads(carrara("run", "list", "--kind", "train", "--json", "-w", fresh.root).stdout)
    assert (run["state"], "every label" in run["error"]) == ("failed", True)
