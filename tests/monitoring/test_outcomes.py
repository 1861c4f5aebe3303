"""Outcomes: late, repeated, corrected, unknown and early ones are right, whatever they are matched by (F44)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from served import log_trips, trips_between

from carrara.core.errors import ColumnMissing, DataError
from carrara.monitoring.outcomes import LABEL, OutcomeRule, join_outcomes
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)


@pytest.fixture
def asked(trained):
    """A workspace in which trips were predicted of which the dataset knows nothing."""
    trips = log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=12)))
    with Workspace(trained.root, clock=lambda: FROM + timedelta(minutes=1)) as early:
        yield early, trips


def outcomes_of(workspace: Workspace) -> dict[str, int | None]:
    rule = OutcomeRule.of(workspace.stores, workspace.models.get("late"))
    joined = join_outcomes(workspace.stores, rule, workspace.predictions("late"))
    return dict(zip(joined["prediction_id"], joined[LABEL], strict=True))


def test_outcomes_are_matched_by_id_and_by_keys_and_time(asked):
    workspace, trips = asked
    one, other = trips.row(0, named=True), trips.row(1, named=True)
    told = workspace.monitoring.outcomes("late", [{"prediction_id": one["prediction_id"], "outcome": True}])
    assert (told.rows, told.new, told.corrected, told.repeated, told.unknown) == (1, 1, 0, 0, 0)
    keys = {name: other[name] for name in ("driver", "depot", "city")}
    workspace.monitoring.outcomes("late", [{**keys, "event_time": other["at"], "outcome": False}])
    found = outcomes_of(workspace)
    assert (found[one["prediction_id"]], found[other["prediction_id"]]) == (1, 0)
    assert sum(value is not None for value in found.values()) == 2


def test_a_repeated_outcome_counts_once_and_a_correction_is_what_counts(asked):
    workspace, trips = asked
    name = trips["prediction_id"][0]
    for outcome, expected in ((True, (1, 0, 0)), (True, (0, 0, 1)), (False, (1, 1, 0))):
        told = workspace.monitoring.outcomes("late", [{"prediction_id": name, "outcome": outcome}])
        assert (told.new, told.corrected, told.repeated) == expected
    assert outcomes_of(workspace)[name] == 0
    assert workspace.stores.lake.scan("outcomes/late").collect().height == 2


def test_an_outcome_of_an_unknown_prediction_counts_when_the_prediction_comes(asked):
    workspace, _ = asked
    trips = trips_between(workspace, FROM + timedelta(hours=12), FROM + timedelta(hours=18))
    name = f"p0-{trips['at'].dt.timestamp('us')[0]}"
    told = workspace.monitoring.outcomes("late", [{"prediction_id": name, "outcome": 1}])
    assert told.unknown == 1
    log_trips(workspace, trips)
    assert outcomes_of(workspace)[name] == 1


def test_an_outcome_from_before_its_prediction_is_said_to_be_early(asked):
    workspace, trips = asked
    before = trips["at"][5] - timedelta(hours=1)
    row = {"prediction_id": trips["prediction_id"][5], "outcome": 1, "known_at": before}
    assert workspace.monitoring.outcomes("late", [row]).early == 1


def test_what_is_handed_in_comes_before_what_the_dataset_says(trained):
    trips = log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=12)))
    first = trips.row(0, named=True)
    with Workspace(trained.root, clock=lambda: FROM + timedelta(days=9)) as later:
        assert outcomes_of(later)[first["prediction_id"]] == int(first["late"])
        later.monitoring.outcomes("late", [{"prediction_id": first["prediction_id"], "outcome": not first["late"]}])
        assert outcomes_of(later)[first["prediction_id"]] == int(not first["late"])


def test_files_and_texts_are_read_and_what_is_no_outcome_is_refused_whole(asked, tmp_path):
    workspace, trips = asked
    path = tmp_path / "happened.csv"
    trips.head(3).select("prediction_id", pl.lit("yes").alias("outcome")).write_csv(path)
    assert workspace.monitoring.outcomes("late", str(path)).new == 3
    rows = [{"prediction_id": "a", "outcome": "no"}, {"prediction_id": "b", "outcome": "maybe"}]
    with pytest.raises(DataError, match=r"row 1 .* 'maybe'"):
        workspace.monitoring.outcomes("late", rows)
    with pytest.raises(ColumnMissing, match="outcome"):
        workspace.monitoring.outcomes("late", [{"prediction_id": "a"}])
    with pytest.raises(DataError, match="which predictions"):
        workspace.monitoring.outcomes("late", [{"outcome": 1}])
    assert workspace.stores.lake.scan("outcomes/late").collect().height == 3
