"""What a workspace asks of every version before it is deployed: each check fails a model that was made to violate it,
and only that check does."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import carrara
from carrara.core.errors import CheckFailed, NotFoundError
from carrara.workspace.workspace import Workspace

CHECKS = """gates=(
        carrara.data_validated(),
        carrara.features_validated(missing=0.75),
        carrara.nulls_handled(),
        carrara.fully_reported(),
        carrara.backtested("roc_auc", 0.5, origins=2, every="4d"),
    ),"""
MANDATORY = """
[deployments]
gates = ["data_validated", "features_validated", "nulls_handled", "fully_reported", "backtested"]
shadow = true
"""
NEVER_FULL = """
[columns]
depot.type = "string"
city.type = "string"
seen_at.type = "datetime"
load = {type = "float64", max = 0.5}
open.type = "bool"
"""


def declared(folder: Path, *changes: tuple[str, str]) -> Workspace:
    """The workspace, whose model is held against all checks, with what is changed in its definitions."""
    path = folder / "definitions.py"
    text = path.read_text()
    for before, after in (('gates=(carrara.at_least("roc_auc", 0.5),),', CHECKS), ("trees=40", "trees=10"), *changes):
        assert before in text, before
        text = text.replace(before, after, 1)
    path.write_text(text)
    (folder / "carrara.toml").write_text((folder / "carrara.toml").read_text() + MANDATORY)
    return Workspace(folder)


def with_fewer_depots(folder: Path) -> None:
    """Depots tell how full they are for the first week only: after two days without news nothing is known."""
    rows = pl.read_csv(folder / "depots.csv")
    rows.head(rows.height // 4).write_csv(folder / "depots.csv")


def with_overfull_depots(folder: Path) -> None:
    """The schema says that no depot is fuller than half."""
    (folder / "schemas").mkdir()
    (folder / "schemas" / "depots.toml").write_text(NEVER_FULL)


VIOLATIONS = {
    "data validated": ((), with_overfull_depots),
    "features validated": ((), with_fewer_depots),
    "nulls handled": (
        (
            ('features=("depot_state", "driver_trips", "trip"),', 'features=("trip:far",),'),
            ("carrara.XGBoost(trees=10, depth=3)", "carrara.Linear()"),
            ('"far": "int64"', '"far": "float64"'),
            ('"far": distance > 50', '"far": distance'),
        ),
        None,
    ),
    "fully reported": ((('slices=("depot",),', ""), ('baseline=("depot",),', "")), None),
    "backtest: roc_auc at least 0.999 at each of 2 moments, 4d apart": (
        (('"roc_auc", 0.5, ', '"roc_auc", 0.999, '),),
        None,
    ),
}


def failed(found) -> dict[str, str]:
    return {one["gate"]: one["message"] for one in found.gates["results"] if not one["passed"]}


@pytest.mark.slow
def test_a_model_that_keeps_to_all_of_them_is_deployed(fresh):
    with declared(fresh.root) as workspace:
        found = workspace.train("late")
        assert failed(found) == {}
        assert workspace.deploy("late@1").version == 1


@pytest.mark.slow
@pytest.mark.parametrize("check", VIOLATIONS)
def test_each_check_fails_a_model_that_was_made_to_violate_it(fresh, check):
    changes, damage = VIOLATIONS[check]
    if damage is not None:
        damage(fresh.root)
    with declared(fresh.root, *changes) as workspace:
        found = workspace.train("late")
        assert list(failed(found)) == [check], failed(found)
        with pytest.raises(CheckFailed, match="late@1 is blocked"):
            workspace.deploy("late@1")


def test_a_version_that_was_not_held_against_them_takes_no_traffic_nor_one_that_was_no_shadow(trained):
    root = trained.root
    trained.close()
    toml = (root / "carrara.toml").read_text()
    (root / "carrara.toml").write_text(toml + MANDATORY)
    with Workspace(root) as workspace, pytest.raises(CheckFailed, match="was not held against") as refused:
        workspace.deploy("late@1")
    assert "its definition has no gate 'nulls_handled'" in str(refused.value)
    (root / "carrara.toml").write_text(toml + '\n[deployments]\ngates = ["nulls_handeld"]\n')
    with Workspace(root) as workspace, pytest.raises(NotFoundError, match="Did you mean 'nulls_handled'"):
        workspace.deploy("late@1")
    (root / "carrara.toml").write_text(toml + "\n[deployments]\nshadow = true\n")
    definitions = root / "definitions.py"
    definitions.write_text(definitions.read_text().replace("trees=40", "trees=9"))
    with Workspace(root) as workspace:
        workspace.train("late")
        with pytest.raises(CheckFailed, match="late@2 has not been a shadow on 'late'"):
            workspace.deploy("late@2")
        workspace.endpoints.shadow("late@2")
        assert workspace.deploy("late@2").version == 2


def test_the_checks_have_their_names_in_the_package():
    for name in ("backtested", "data_validated", "features_validated", "fully_reported", "nulls_handled"):
        assert name in carrara.__all__
