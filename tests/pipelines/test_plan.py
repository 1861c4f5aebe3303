"""Plan and apply: what would change, and making it so, all or nothing."""

from __future__ import annotations

import pytest

from carrara.core.errors import CarraraError, DefinitionCycle, NotFoundError
from carrara.workspace.workspace import Workspace


def reopened(workspace: Workspace, before: str, after: str) -> Workspace:
    path = workspace.root / "definitions.py"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    workspace.close()
    return Workspace(workspace.root)


def test_a_new_workspace_plans_to_add_everything_and_then_nothing(fresh):
    assert {change.action for change in fresh.plan().changes} == {"added"}
    fresh.apply()
    assert fresh.plan().changes == ()


def test_a_changed_field_is_shown_with_both_values(fresh):
    fresh.apply()
    (change,) = reopened(fresh, 'ttl="2d"', 'ttl="3d"').plan().changes
    assert (change.action, change.kind, change.name) == ("changed", "feature view", "depot_state")
    assert change.fields == (("ttl", "2d", "3d"),)


def test_a_removed_definition_is_planned_as_removed(fresh):
    fresh.apply()
    text = (fresh.root / "definitions.py").read_text()
    changed = reopened(fresh, text[text.index("late = carrara.Model") :], "")
    assert [(c.action, c.name) for c in changed.plan().changes] == [("removed", "late")]


def test_apply_refuses_a_plan_that_somebody_overtook(fresh):
    planned = fresh.plan()
    with Workspace(fresh.root) as other:
        other.apply()
    with pytest.raises(CarraraError, match="nothing was applied"):
        fresh.apply(planned)


def test_nothing_is_applied_of_definitions_that_do_not_fit_together(fresh):
    changed = reopened(fresh, 'entity="driver"', 'entity="drivr"')
    with pytest.raises(NotFoundError, match="driver"):
        changed.apply()
    assert reopened(changed, 'entity="drivr"', 'entity="driver"').plan().before == {}


def test_datasets_that_need_each_other_are_named_in_a_circle(fresh):
    circle = """
@carrara.dataset(inputs=("second",))
def first(frame):
    return frame


@carrara.dataset(inputs=("first",))
def second(frame):
    return frame


late = carrara.Model("""
    with pytest.raises(DefinitionCycle, match="first → second → first"):
        reopened(fresh, "late = carrara.Model(", circle).plan()


def test_what_the_configuration_requires_of_views_is_asked_for(fresh):
    (fresh.root / "carrara.toml").write_text('[features]\nrequire = ["owner"]\n')
    with pytest.raises(CarraraError, match=r"says no owner, which \[features\] require") as refused:
        Workspace(fresh.root).plan()
    assert "owner=" in str(refused.value.hint)
    (fresh.root / "carrara.toml").write_text('[features]\nrequire = ["ownr"]\n')
    with pytest.raises(NotFoundError, match="Did you mean 'owner'"):
        Workspace(fresh.root).plan()
