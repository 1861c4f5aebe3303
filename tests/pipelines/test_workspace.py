"""The façade: predictions in process, features by key, and how objects show themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

import carrara
from carrara.core.errors import NotFoundError, RequestError
from carrara.demo.parity import compare_with_offline
from carrara.workspace.workspace import Workspace

AT = datetime(2024, 1, 20, tzinfo=UTC)
ENTITY = {"driver": "d1", "depot": "p0", "city": "c0", "distance": 80.0, "event_time": AT}


def test_every_public_name_can_be_imported():
    assert [name for name in carrara.__all__ if getattr(carrara, name, None) is None] == []


def test_a_prediction_in_process_reads_the_features_by_key(trained):
    near, far = trained.predict("late", [{**ENTITY, "distance": 2.0}, ENTITY]).rows["probability"]
    assert 0 <= near < far <= 1


def test_an_unknown_entity_is_predicted_with_missing_features(trained):
    features = trained.features.get("late", [{**ENTITY, "driver": "nobody"}])
    assert np.isnan(features["driver_trips:delay_mean_6h"]).all()
    assert features["driver_trips:count_6h"].tolist() == [0.0]
    assert trained.predict("late", [{**ENTITY, "driver": "nobody"}]).rows.height == 1


def test_features_older_than_their_ttl_are_missing(trained):
    later = {**ENTITY, "event_time": datetime(2024, 1, 25, tzinfo=UTC)}
    assert np.isnan(trained.features.get("late", [later])["depot_state:load"]).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"drivr": "d1"}, "'driver'"),
        ({"distance": "far"}, "'distance'"),
        ({"event_time": datetime(2024, 1, 20)}, "names no zone"),
        ({"event_time": "2024-01-20T10:00:00"}, "names no zone"),
    ],
)
def test_a_wrong_entity_names_the_field(trained, change, says):
    entity = {key: value for key, value in ENTITY.items() if not (key == "driver" and "drivr" in change)}
    with pytest.raises(RequestError) as raised:
        trained.predict("late", [{**entity, **change}])
    assert says in str(raised.value)


def test_an_unknown_model_names_the_nearest(trained):
    with pytest.raises(NotFoundError, match="Did you mean 'late'"):
        trained.predict("lata", [ENTITY])


def test_a_live_model_keeps_the_definitions_it_was_trained_with(trained):
    """A later edit of the file changes neither what a version computes nor which rows it reads."""
    before = trained.predict("late@1", [ENTITY]).rows["probability"][0]
    path = trained.root / "definitions.py"
    path.write_text(path.read_text().replace("distance * load", "distance * load * 1000"))
    trained.close()
    with Workspace(trained.root) as changed:
        assert changed.predict("late@1", [ENTITY]).rows["probability"][0] == before


def test_logged_predictions_equal_the_point_in_time_join(trained):
    """P5: what was read online is what the offline join gives for the same keys and times."""
    random = np.random.default_rng(0)
    entities = [
        {
            **ENTITY,
            "driver": f"d{random.integers(0, 14)}",
            "depot": f"p{city % 2}",
            "city": f"c{city}",
            "distance": float(random.uniform(1, 100)),
            "prediction_id": f"p{number}",
        }
        for number, city in enumerate(random.integers(0, 4, 300))
    ]
    trained.predict("late", entities, log=True)
    assert compare_with_offline(trained, "late@1") == 300


def test_outcomes_count_from_the_moment_they_became_known(trained):
    trips = trained.datasets.read("trips").filter(pl.col("at") > AT).sort("at").head(200).collect()
    trained.features.materialise(until=trips["at"].max())
    rows = trips.select("driver", "depot", "city", "distance", pl.col("at").alias("event_time"))
    trained.predict("late", rows.to_dicts(), log=True)
    half = trips["ended_at"].sort()[99]
    for clock, known in ((half, 100), (trips["ended_at"].max(), 200)):
        trained.close()
        with Workspace(trained.root, clock=lambda clock=clock: clock) as later:
            report = later.monitor("late@1")
            assert (report.predictions, report.outcomes) == (200, known)
