"""Comparison: the same rows for all, differences beyond chance, slices that lose, and what made versions differ."""

from __future__ import annotations

import json

import pytest
from test_train import edit
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import CarraraError


@pytest.fixture
def two(trained):
    """`late@2` has one small tree, and fewer features."""
    changed = edit(trained, "trees=40, depth=3", "trees=1, depth=1")
    changed = edit(changed, 'features=("depot_state", "driver_trips", "trip")', 'features=("driver_trips", "trip")')
    changed.train("late")
    return changed


def test_a_worse_version_is_told_from_a_better_one_on_the_same_rows(two, tmp_path):
    found = two.models.compare("late@1", "late@2", "late@1")
    worse, itself = found.others
    assert found.main == "roc_auc"
    recorded = two.models.record("late@1")["metrics"]["test"]["roc_auc"]
    assert worse.metrics["roc_auc"].one == pytest.approx(recorded["value"])
    assert worse.metrics["roc_auc"].other == pytest.approx(
        two.models.record("late@2")["metrics"]["test"]["roc_auc"]["value"]
    )
    assert worse.metrics["roc_auc"].high < 0
    assert worse.metrics["log_loss"].low > 0
    assert worse.answers.other_answers > 0
    assert worse.answers.only_one_right > worse.answers.only_other_right
    assert len(worse.examples) == 10
    first, last = (abs(worse.examples[place]["one"] - worse.examples[place]["other"]) for place in (0, -1))
    assert first >= last > 0
    assert {s.column for s in worse.slices} == {"depot"}
    assert sum(s.rows for s in worse.slices) == found.rows
    assert {s.verdict for s in worse.slices} == {"loses"}
    changed = {field for field, _, _ in worse.configuration}
    assert any("trees" in field for field in changed)
    assert worse.warnings == []
    assert itself.metrics["roc_auc"].difference == 0
    assert (itself.answers.other_answers, itself.configuration, itself.warnings) == (0, [], [])

    page = tmp_path / "compared.html"
    result = CliRunner().invoke(
        app, ["model", "compare", "late@1", "late@2", "-w", str(two.root), "-o", str(page)], catch_exceptions=False
    )
    assert "loses where depot = p" in result.stdout
    text = page.read_text()
    assert "late@2 beside late@1" in text
    assert "<svg" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    result = CliRunner().invoke(app, ["model", "compare", "late@1", "late@2", "-w", str(two.root), "--json"])
    told = json.loads(result.stdout)["others"][0]
    assert told["metrics"]["roc_auc"]["differs"] is True


def test_a_version_that_was_trained_on_the_rows_is_told_apart(trained):
    later = edit(
        trained,
        'TimeSplit(validation_from="2024-01-15", test_from="2024-01-20")',
        'TimeSplit(validation_from="2024-01-24", test_from="2024-01-27")',
    )
    later.train("late")
    (found,) = later.models.compare("late@1", "late@2").others
    (warning,) = found.warnings
    assert "it may have seen them" in warning
    assert later.models.compare("late@2", "late@1").others[0].warnings == []


def test_models_of_different_labels_are_not_compared(trained):
    text = (trained.root / "definitions.py").read_text()
    other = text[text.index("late = carrara.Model(") :]
    for before, after in (
        ('late = carrara.Model(\n    "late"', 'd = carrara.Model(\n    "d"'),
        ('column="late", time="at", known_at="ended_at"', 'column="delay", time="at", kind="regression"'),
        ('metrics=("roc_auc", "log_loss", "brier")', 'metrics=("rmse",)'),
        ('carrara.at_least("roc_auc", 0.5)', 'carrara.at_least("rmse", 0)'),
    ):
        assert before in other
        other = other.replace(before, after)
    changed = edit(trained, text[-20:], text[-20:] + other)
    changed.train("d")
    with pytest.raises(CarraraError, match="its label's column is 'delay'"):
        changed.models.compare("late@1", "d@1")
