"""Deployments follow one another without a gap; aliases move and remember; runs and steps are kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from carrara.core.errors import NotFoundError
from carrara.metadata.aliases import current_aliases, move_alias
from carrara.metadata.deployments import current_deployments, deploy, deployments_of
from carrara.metadata.runs import get_run, list_runs, record_step, recorded_step, run
from carrara.metadata.store import Metadata
from carrara.metadata.tables import aliases
from carrara.metadata.versions import add_version, find_by_digest
from forked import Python


@pytest.fixture
def metadata(metadata_url):
    made = Metadata(metadata_url)
    yield made
    made.close()


def test_a_deployment_ends_the_one_before_at_the_same_moment(metadata):
    deploy(metadata, "late", "late", 1)
    second = deploy(metadata, "late", "late", 2)
    (first,) = deployments_of(metadata, "late", 1)
    assert first.ended_at == second.started_at
    assert current_deployments(metadata) == [second]


def test_deploying_what_is_served_already_changes_nothing(metadata):
    first = deploy(metadata, "late", "late", 1)
    assert deploy(metadata, "late", "late", 1) == first
    assert deployments_of(metadata, "late", 1) == [first]


def test_endpoints_do_not_touch_each_other(metadata):
    deploy(metadata, "a", "late", 1)
    deploy(metadata, "b", "late", 1)
    deploy(metadata, "b", "other", 1)
    assert [(d.endpoint, d.model) for d in current_deployments(metadata)] == [("a", "late"), ("b", "other")]


def test_going_back_to_a_version_is_a_deployment_of_its_own(metadata):
    for version in (1, 2, 1):
        deploy(metadata, "late", "late", version)
    assert [d.ended_at is None for d in deployments_of(metadata, "late", 1)] == [False, True]


def test_many_who_deploy_at_once_leave_one_current(metadata):
    code = (
        "import sys\nfrom carrara.metadata.deployments import deploy\nfrom carrara.metadata.store import Metadata\n"
        "m = Metadata(sys.argv[1])\n"
        "for n in range(10):\n    deploy(m, 'late', 'late', int(sys.argv[2]) * 100 + n)\n"
    )
    others = [Python(code, metadata.url, str(n)) for n in range(4)]
    assert [other.communicate()[1] for other in others] == [""] * 4
    made = [d for n in range(4) for k in range(10) for d in deployments_of(metadata, "late", n * 100 + k)]
    assert len(made) == 40
    assert [d for d in made if d.ended_at is None] == current_deployments(metadata)
    assert len(current_deployments(metadata)) == 1


def test_an_alias_points_where_it_was_moved_last_and_keeps_its_history(metadata):
    for alias, version in (("champion", 1), ("challenger", 2), ("champion", 2), ("champion", 1)):
        move_alias(metadata, "late", alias, version)
    move_alias(metadata, "other", "champion", 9)
    assert current_aliases(metadata, "late") == {"champion": 1, "challenger": 2}
    with metadata.begin() as connection:
        moved = connection.execute(select(aliases).where(aliases.c.model == "late").order_by(aliases.c.id)).all()
    assert [(row.alias, row.version) for row in moved] == [
        ("champion", 1),
        ("challenger", 2),
        ("champion", 2),
        ("champion", 1),
    ]


def test_a_run_that_is_interrupted_is_recorded_as_failed(metadata):
    with pytest.raises(KeyboardInterrupt), run(metadata, "train", "m", {}):
        raise KeyboardInterrupt
    assert [(r.state, r.error) for r in list_runs(metadata)] == [("failed", "KeyboardInterrupt: ")]


def test_a_run_is_running_until_it_is_complete(metadata, monkeypatch):
    monkeypatch.setenv("CARRARA_USER", "ada")
    with run(metadata, "train", "m", {"trees": 5}) as run_id:
        during = get_run(metadata, run_id)
    after = get_run(metadata, run_id)
    assert (during.state, during.ended_at, during.user) == ("running", None, "ada")
    assert (after.state, after.error, after.parameters) == ("complete", None, {"trees": 5})
    assert after.started_at == during.started_at <= after.ended_at


def test_runs_are_listed_newest_first_by_kind(metadata):
    for kind, name in (("train", "a"), ("ingest", "b"), ("train", "c")):
        with run(metadata, kind, name, {}):
            pass
    assert [r.name for r in list_runs(metadata)] == ["c", "b", "a"]
    assert [r.name for r in list_runs(metadata, "train")] == ["c", "a"]
    assert [r.name for r in list_runs(metadata, limit=1)] == ["c"]


def test_an_unknown_run_is_named(metadata):
    with pytest.raises(NotFoundError, match="no run 'nobody'"):
        get_run(metadata, "nobody")


def test_a_step_is_found_by_its_key_and_a_second_record_replaces_it(metadata):
    started = datetime(2024, 1, 1, tzinfo=UTC)
    assert recorded_step(metadata, "k") is None
    for n in (1, 2):
        record_step(metadata, "k", "fit", f"r{n}", started, {"rows": n})
    found = recorded_step(metadata, "k")
    assert (found.run_id, found.outputs, found.started_at) == ("r2", {"rows": 2}, started)


def test_a_digest_finds_the_newest_version_that_has_it(metadata):
    for digest in ("x", "y", "x"):
        add_version(metadata, "dataset", "a", digest=digest, run_id="r", record={})
    assert find_by_digest(metadata, "dataset", "a", "x").version == 3
    assert find_by_digest(metadata, "dataset", "a", "z") is None
    assert find_by_digest(metadata, "dataset", "b", "x") is None
