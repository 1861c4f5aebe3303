"""Lineage: up and down from a model, a dataset, a feature, a prediction; by hops; on graphs of any shape."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings, strategies as st
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import NotFoundError
from carrara.metadata.lineage import Edge, add_edges, downstream, upstream
from carrara.metadata.store import Metadata
from carrara.metadata.tables import lineage
from metadata_servers import new_database


def ends(edges, side: str) -> set[str]:
    return {getattr(edge, side) for edge in edges}


def test_a_model_is_traced_to_its_files_and_to_where_it_serves(trained):
    found = trained.trace("late")
    assert found.address == "model:late@1"
    sources = ends(found.up, "source")
    assert {"training_set:late@1", "dataset:trips@1", "feature_table:depot_state@1"} <= sources
    assert any(source.startswith("file:trips.csv#") for source in sources)
    assert ends(found.down, "target") == {"endpoint:late"}
    assert trained.trace("models:/late@champion").up == found.up
    assert ends(trained.trace("late@1", hops=1).up, "source") == {"training_set:late@1"}


def test_a_dataset_says_which_models_saw_it(trained):
    assert {"model:late@1", "endpoint:late"} <= ends(trained.trace("trips").down, "target")
    assert trained.trace("dataset:trips@1").nodes == trained.trace("trips").nodes


def test_a_feature_comes_from_its_table_and_goes_into_models(trained):
    found = trained.trace("depot_state:load")
    assert found.address == "feature:depot_state:load"
    assert "dataset:depots@1" in ends(found.up, "source")
    assert "dataset:trips@1" not in ends(found.up, "source")
    assert {"training_set:late@1", "model:late@1", "endpoint:late"} == ends(found.down, "target")
    with pytest.raises(NotFoundError, match="Did you mean 'depot_state:load'"):
        trained.trace("feature:depot_state:loads")


def test_a_prediction_is_traced_to_the_data_behind_its_model(trained):
    at = datetime(2024, 1, 20, 12, tzinfo=UTC)
    row = {"driver": "d1", "depot": "p1", "city": "c1", "distance": 10.0, "event_time": at}
    trained.predict("late", entities=[row], log=True)
    identifier = trained.predictions("late")["prediction_id"][0]
    found = trained.trace(identifier)
    assert found.address == f"prediction:{identifier}"
    assert {"model:late@1", "training_set:late@1", "dataset:trips@1"} <= ends(found.up, "source")
    with pytest.raises(NotFoundError, match="no prediction"):
        trained.trace("00000000-0000-7000-8000-000000000000")


def test_the_command_draws_a_tree_and_prints_json(trained):
    drawn = CliRunner().invoke(app, ["lineage", "late", "-w", str(trained.root)]).stdout
    assert "model:late@1 is made from\n└─ training_set:late@1" in drawn
    assert "   ├─ dataset:trips@1" in drawn
    assert "dataset:trips@1  (as above)" in drawn
    told = json.loads(CliRunner().invoke(app, ["lineage", "trips", "-w", str(trained.root), "--json"]).stdout)
    assert told["made_into"]["next"]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def metadata(request, tmp_path_factory):
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('lineage')}/m.db"
        if request.param == "postgresql":
            url = stack.enter_context(new_database(request.getfixturevalue("_postgresql")))
        made = Metadata(url)
        stack.callback(made.close)
        yield made


NODES = st.sampled_from([f"dataset:{letter}@1" for letter in "abcdefgh"])


@given(st.lists(st.tuples(NODES, NODES), max_size=25, unique=True), NODES, st.none() | st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_a_walk_finds_what_a_plain_search_finds(metadata, pairs, start, hops):
    """Circles too, which no run makes."""
    with metadata.begin() as connection:
        connection.execute(lineage.delete())
        add_edges(connection, [Edge(a, b, "r") for a, b in pairs])
    for walk, here, there in ((upstream, 1, 0), (downstream, 0, 1)):
        expected, frontier, left = set(), {start}, hops
        seen = {start}
        while frontier and (left is None or left > 0):
            edges = {pair for pair in pairs if pair[here] in frontier}
            expected |= edges
            frontier = {pair[there] for pair in edges} - seen
            seen |= frontier
            left = None if left is None else left - 1
        assert {(edge.source, edge.target) for edge in walk(metadata, start, hops)} == expected
