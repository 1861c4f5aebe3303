"""The score card: what is promised of a model, held against what is stored, as of now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from served import log_trips, trips_between
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import DefinitionError
from carrara.monitoring.agreement import Agreement
from carrara.monitoring.scorecard import scorecard
from carrara.workspace.workspace import Workspace

FROM, DAY = datetime(2024, 1, 22, tzinfo=UTC), timedelta(days=1)


def _card(workspace: Workspace, at: datetime | None = None, **agreed):
    with Workspace(workspace.root, **({"clock": lambda: at} if at else {})) as then:
        found = scorecard(then.stores, Agreement("late", **agreed), then.models.get("late@1"))
    return found, {one.name: one for one in found.indicators}


def test_a_version_turns_red_by_itself_when_its_data_grow_stale(trained):
    newest = datetime.fromisoformat(trained.models.record("late@1")["datasets"]["training_set"]["until"])
    _, young = _card(trained, newest + 5 * DAY, data_within="7d")
    card, old = _card(trained, newest + 8 * DAY, data_within="7d")
    assert (young["its data are fresh"].met, old["its data are fresh"].met) == (True, False)
    assert "8 days ago, at most 7d" in old["its data are fresh"].said
    assert card.state == "red"


def test_what_is_not_known_is_neither_met_nor_missed(trained):
    card, found = _card(trained)
    assert found["as good as it was evaluated"].met is None
    assert found["watched"].met is None
    assert card.scores["predict"] is None
    assert (found["documented"].met, found["documented"].said) == (False, "it has no owner and no description")
    trained.models.describe("late@1", owner="ann", description="for the depots")
    assert _card(trained)[1]["documented"].met


def test_live_quality_alerts_and_approval_count_where_they_are_known(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + 2 * DAY))
    later = datetime(2024, 2, 10, tzinfo=UTC)
    with Workspace(trained.root, clock=lambda: later) as then:
        then.monitoring.run("late")
    _, found = _card(trained, later, watched_within="30d", approved=True, p99_ms=5)
    assert (found["watched"].met, found["as good as it was evaluated"].met) == (True, True)
    assert found["approved"].met is False
    trained.models.approve("late@1", "read with the depots")
    _, found = _card(trained, later + 60 * DAY, watched_within="30d", approved=True)
    assert (found["approved"].met, found["watched"].met) == (True, False)


def test_the_command_says_what_is_missed_by_its_exit_code(trained):
    done = CliRunner().invoke(app, ["model", "scorecard", "late@1", "-w", str(trained.root)])
    assert done.exit_code == 3
    assert "late@1 is red" in done.output
    assert "MISSED" in done.output


def test_an_agreement_that_allows_no_time_is_refused():
    with pytest.raises(DefinitionError, match="no time"):
        Agreement("late", data_within="0d")
    with pytest.raises(DefinitionError, match="p99_ms"):
        Agreement("late", p99_ms=0)
