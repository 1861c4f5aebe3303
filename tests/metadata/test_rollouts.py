"""What an endpoint serves beside its primary: canaries, splits and shadows; and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from carrara.core.errors import CarraraError, NotFoundError
from carrara.metadata.aliases import current_aliases
from carrara.metadata.deployments import (
    add_canary,
    add_shadow,
    current_deployments,
    deploy,
    end_endpoint,
    history,
    promote,
    roll_back,
    split,
)
from carrara.metadata.endpoint_events import list_events
from carrara.metadata.observations import Observation, add_observations, list_observations
from carrara.metadata.store import Metadata

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def metadata(tmp_path):
    made = Metadata(f"sqlite:///{tmp_path}/m.db")
    yield made
    made.close()


def canary(metadata, version=2, share=0.1):
    return add_canary(metadata, "late", version, share=share, by=["driver"], until=UNTIL)


def served(metadata) -> list[tuple[str, int, float]]:
    return [(one.role, one.version, one.share) for one in current_deployments(metadata, "late")]


def serve(metadata, version):
    return deploy(metadata, "late", "late", version, alias="champion")


def kinds(metadata) -> list[tuple[str, int]]:
    return [(event.kind, event.version) for event in list_events(metadata, "late")]


def test_a_canary_runs_beside_the_primary_and_a_second_takes_its_place(metadata):
    serve(metadata, 1)
    made = canary(metadata)
    assert (made.by, made.until) == (("driver",), UNTIL)
    canary(metadata, share=0.5)
    assert served(metadata) == [("primary", 1, 1.0), ("canary", 2, 0.5)]
    assert current_aliases(metadata, "late") == {"champion": 1}


def test_a_promoted_canary_is_the_primary_and_the_champion_and_its_reasons_are_kept(metadata):
    serve(metadata, 1)
    add_shadow(metadata, "late", 3)
    assert promote(metadata, canary(metadata), ["no more errors"], until=UNTIL)
    assert served(metadata) == [("primary", 2, 1.0), ("shadow", 3, 0.0)]
    assert current_aliases(metadata, "late") == {"champion": 2}
    assert list_events(metadata, "late")[-1].reasons == ("no more errors",)


def test_of_two_who_decide_on_a_canary_the_first_counts(metadata):
    serve(metadata, 1)
    made = canary(metadata)
    roll_back(metadata, "late", ["errors"], of=made)
    assert not promote(metadata, made, [], until=UNTIL)
    assert roll_back(metadata, "late", ["errors"], of=made).version == 1
    assert served(metadata) == [("primary", 1, 1.0)]
    assert kinds(metadata) == [("deployed", 1), ("canary", 2), ("rolled back", 2)]


def test_a_rollback_ends_what_is_tried_and_then_goes_back_version_by_version(metadata):
    for version in (1, 2, 3):
        serve(metadata, version)
    canary(metadata, 4)
    found = [roll_back(metadata, "late", []).version for _ in range(3)]
    assert found == [3, 2, 1]
    with pytest.raises(CarraraError, match="no version before late@1"):
        roll_back(metadata, "late", [])
    assert [event.version for event in list_events(metadata, "late") if event.kind == "rolled back"] == [4, 3, 2]
    assert current_aliases(metadata, "late") == {"champion": 1}


def test_a_split_keeps_the_primary_that_is_one_of_its_arms(metadata):
    serve(metadata, 2)
    split(metadata, "late", "late", {1: 0.3, 2: 0.7}, by=["driver"])
    assert served(metadata) == [("primary", 2, 1.0), ("split", 1, 0.3)]
    split(metadata, "late", "late", {3: 0.5, 4: 0.5}, by=["driver"])
    assert served(metadata) == [("primary", 3, 1.0), ("split", 4, 0.5)]


def test_a_deployment_ends_everything_else_that_was_tried(metadata):
    serve(metadata, 1)
    canary(metadata)
    add_shadow(metadata, "late", 3)
    serve(metadata, 1)
    assert served(metadata) == [("primary", 1, 1.0)]
    assert len({one.ended_at for one in history(metadata, "late") if one.ended_at}) == 1


def test_nothing_is_tried_where_nothing_is_served_or_the_same_is(metadata):
    with pytest.raises(NotFoundError, match="no endpoint 'late'"):
        canary(metadata)
    serve(metadata, 2)
    with pytest.raises(CarraraError, match="serves already"):
        canary(metadata)
    with pytest.raises(NotFoundError, match="Did you mean 'late'"):
        history(metadata, "laet")


def test_an_endpoint_can_end(metadata):
    serve(metadata, 1)
    end_endpoint(metadata, "late")
    assert served(metadata) == []
    with pytest.raises(NotFoundError):
        end_endpoint(metadata, "late")


def test_observations_are_kept_by_server_and_moment_for_a_week(metadata):
    old, new = UNTIL - timedelta(days=8), UNTIL
    add_observations(metadata, [Observation("late", "late", 1, "a", old, {"answered": 1})])
    add_observations(metadata, [Observation("late", "late", 1, server, new, {"answered": 2}) for server in "ab"])
    found = list_observations(metadata, "late", old - timedelta(days=1))
    assert [(one.server, one.at, one.seen) for one in found] == [
        ("a", new, {"answered": 2}),
        ("b", new, {"answered": 2}),
    ]
