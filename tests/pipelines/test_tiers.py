"""Tiers: what most depends on has gates and an owner, and takes traffic only after it was seen beside what serves."""

from __future__ import annotations

import pytest

import carrara
from carrara.core.errors import CheckFailed, DefinitionError
from carrara.workspace.workspace import Workspace


def of_tier(folder, tier: int, *changes: tuple[str, str]) -> None:
    path = folder / "definitions.py"
    text = path.read_text()
    for before, after in (("trees=40", "trees=41"), ("depth=3)", f"depth=3), tier={tier}"), *changes):
        assert before in text
        text = text.replace(before, after, 1)
    path.write_text(text)


def test_a_version_of_tier_1_takes_traffic_after_it_was_a_shadow(trained):
    folder = trained.root
    trained.close()
    of_tier(folder, 1, ("depth=3)", 'depth=3), owner="ada@example.com"'))
    with Workspace(folder) as workspace:
        assert workspace.train("late").version.version == 2
        for asked in (
            lambda: workspace.deploy("late@2"),
            lambda: workspace.endpoints.canary("late@2", share=0.1, lasts="1m"),
            lambda: workspace.endpoints.split("late", {"1": 1, "2": 1}),
        ):
            with pytest.raises(
                CheckFailed, match="late@2 is of tier 1, and has not been a shadow on 'late'"
            ) as refused:
                asked()
            assert "carrara deploy late@2 --to late --shadow" in refused.value.hint
        workspace.endpoints.shadow("late@2")
        assert workspace.deploy("late@2").version == 2
        assert workspace.deploy("late@1").version == 1  # which was trained before it had a tier


def test_what_most_depends_on_has_gates_and_an_owner(fresh):
    of_tier(fresh.root, 2)
    with Workspace(fresh.root) as workspace, pytest.raises(DefinitionError, match="tier 2, and has no owner"):
        workspace.definitions.of_kind("model")
    with pytest.raises(DefinitionError, match="is of tier 5"):
        carrara.Model(
            "m",
            ("v:x",),
            carrara.Label("rows", "up", "at"),
            carrara.TimeSplit("2024-01-02", "2024-01-03"),
            carrara.XGBoost(),
            tier=5,
        )
