"""From one answer back to the rows that made it (N4)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from served import log_trips, trips_between

from carrara.core.errors import NotFoundError
from carrara.pipelines import contributions
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)


@pytest.fixture
def asked(trained):
    trips = log_trips(trained, trips_between(trained, FROM, FROM + timedelta(hours=12)), endpoint="late", latency=0.004)
    with Workspace(trained.root, clock=lambda: FROM + timedelta(days=5)) as later:
        yield later, trips


def test_an_answer_leads_back_to_its_rows_its_model_and_its_outcome(asked):
    workspace, trips = asked
    trip = trips.row(3, named=True)
    found = workspace.monitoring.prediction(trip["prediction_id"])
    assert found.version == "late@1"
    assert found.request["driver"] == trip["driver"]
    assert found.outcome == int(trip["late"])
    assert found.model["datasets"]["training_set"]["rows"] > 0
    assert (found.endpoint, found.latency_seconds) == ("late", 0.004)
    assert found.model["code"]["definitions"]
    assert found.model["approvals"] == []
    workspace.models.approve("late@1", reason="looked at")
    (approval,) = workspace.monitoring.prediction(trip["prediction_id"]).model["approvals"]
    assert (approval["decision"], approval["reason"]) == ("approved", "looked at")
    (state,) = (row for row in found.sources if row.view == "depot_state")
    depots = workspace.datasets.read("depots").filter(
        pl.col("depot") == trip["depot"], pl.col("city") == trip["city"], pl.col("seen_at") <= trip["at"]
    )
    newest = depots.sort("seen_at").collect().row(-1, named=True)
    assert (state.event_time, state.values["load"]) == (newest["seen_at"], newest["load"])
    assert state.datasets[0] == "dataset:depots@1"
    (events,) = (row for row in found.sources if row.view == "driver_trips")
    assert all(event["event_time"] <= trip["at"] for event in events.events)


def test_contributions_add_up_to_the_answer_and_the_path_ends_in_a_leaf(asked):
    workspace, trips = asked
    found = workspace.monitoring.prediction(trips["prediction_id"][0])
    assert found.contributions_by == "SHAP values by XGBoost, in log odds"
    margin = found.base + sum(one.contribution for one in found.features)
    assert 1 / (1 + math.exp(-margin)) == pytest.approx(found.answer["probability"], abs=1e-4)
    sizes = [abs(one.contribution) for one in found.features]
    assert sizes == sorted(sizes, reverse=True)
    assert found.path[-1].startswith("leaf ")
    assert len(found.neighbours) == 5
    assert found.as_dict()["features"][0]["name"] == found.features[0].name


def test_without_the_library_contributions_are_sampled_and_still_add_up(asked, monkeypatch):
    workspace, trips = asked
    monkeypatch.setattr(contributions, "learned_files", lambda *_: {})
    found = workspace.monitoring.prediction(trips["prediction_id"][0])
    assert "sampled" in found.contributions_by
    total = found.base + sum(one.contribution for one in found.features)
    assert total == pytest.approx(found.answer["probability"], abs=1e-4)


def test_an_id_that_no_log_has_is_an_error_that_says_what_it_may_be(asked):
    with pytest.raises(NotFoundError, match="no logged prediction 'nobody'"):
        asked[0].monitoring.prediction("nobody")
