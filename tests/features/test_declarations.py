"""What is declared of features beyond their types: defaults, policies, texts, queries, and what changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, table

from carrara.core.errors import DataError, DefinitionError, NotFoundError, RequestError, StorageError
from carrara.core.metrics import FEATURE_FALLBACKS
from carrara.features import fallback as fallback_module
from carrara.features.feature import Feature
from carrara.features.retrieval import Retriever
from carrara.features.service import FeatureService
from carrara.features.views import FeatureView

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
rows = carrara.Dataset("rows", source="rows.parquet")


@carrara.feature_view(entity="thing", source="rows", event_time="event", ttl="10m", features={
    "x": carrara.Feature("float64", default=-1.0, unit="min", description="How late", tags=("delay",)),
    "y": "float64",
    "colour": carrara.Feature("string", default="grey", pii=True),
    "flag": carrara.Feature("bool", default=False),
})
def state(rows):
    return rows


plain = carrara.FeatureView("plain", entity="thing", source="rows", event_time="event", features={"total": "float64"},
    sql="SELECT name, number, event, sum(x) AS total FROM rows GROUP BY ALL")
recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event",
    aggregations=(carrara.count(windows=("9m",)),))
strict = carrara.FeatureService("strict", features=("state:y",), missing="fail", expired="fail")
stale = carrara.FeatureService("stale", features=("state:y", "recent"), expired="stale", unavailable="stale")
careless = carrara.FeatureService("careless", features=("state:x", "state:y", "recent"), unavailable="default")
"""
SCHEMA = {
    "name": pl.String(), "number": pl.Int64(), "event": UTC_TIME, "x": pl.Float64(), "y": pl.Float64(),
    "colour": pl.String(), "flag": pl.Boolean(),
}  # fmt: skip
ROWS = [
    {"name": "a", "number": 1, "event": minute(1), "x": 1.5, "y": 2.5, "colour": "blü", "flag": True},
    {"name": "b", "number": 1, "event": minute(1), "x": None, "y": None, "colour": None, "flag": None},
]


@pytest.fixture
def room(tmp_path) -> Room:
    room = open_room(tmp_path, DEFINITIONS, rows=table(ROWS, **SCHEMA))
    room.compute("state", "plain", "recent")
    for view in ("state", "plain", "recent"):
        room.materialise(view, minute(5))
    return room


def asked(at: float, *names: str) -> pl.DataFrame:
    return table([{"name": name, "number": 1, "at": minute(at)} for name in names])


def ask(room: Room, service: str, at: float, *names: str):
    return Retriever(room.service(service), room.stores.online).ask(
        [{"name": name, "number": 1} for name in names], minute(at)
    )


def test_a_default_stands_where_there_is_no_value_or_an_expired_one_offline_and_online(room):
    for at, expected in ((5, [1.5, -1.0, -1.0]), (12, [-1.0, -1.0, -1.0])):
        labels = asked(at, "a", "b", "nobody")
        online, offline = room.online(labels, "state"), room.offline(labels, "state")
        assert online["state:x"].tolist() == offline["state:x"].to_list() == expected
        assert online["state:colour"].tolist() == offline["state:colour"].to_list()
        assert online["state:flag"].tolist() == offline["state:flag"].cast(pl.Float64).to_list()
        assert np.isnan(online["state:y"])[1:].all()
        assert offline["state:y"].to_list()[1:] == [None, None]


def test_texts_are_served_as_texts(room):
    labels = asked(5, "a", "b", "nobody", "a")
    assert room.online(labels, "state:colour")["state:colour"].tolist() == ["blü", "grey", "grey", "blü"]


def test_a_query_is_a_view_like_any_other(room):
    labels = asked(5, "a", "b")
    assert room.offline(labels, "plain")["plain:total"].to_list() == [1.5, None]
    np.testing.assert_array_equal(room.online(labels, "plain")["plain:total"], [1.5, np.nan])


def test_a_query_that_fails_says_of_which_view(tmp_path):
    room = open_room(tmp_path, DEFINITIONS.replace("sum(x)", "sum(z)"), rows=table(ROWS, **SCHEMA))
    with pytest.raises(DataError, match=r"(?s)the SQL of feature view 'plain' failed.*z"):
        room.compute("plain")


def test_a_service_that_is_strict_names_the_row_that_has_nothing_or_an_expired_value(room):
    assert ask(room, "strict", 5, "a")["state:y"].tolist() == [2.5]
    with pytest.raises(RequestError, match="'state' has nothing for row 1"):
        ask(room, "strict", 5, "a", "nobody")
    with pytest.raises(RequestError, match=r"(?s)for row 0 has expired.*TTL is 10m"):
        ask(room, "strict", 12, "a")


def test_a_service_that_takes_stale_values_says_how_old_they_are(room):
    found = ask(room, "stale", 300, "a", "nobody")
    np.testing.assert_array_equal(found["state:y"], [2.5, np.nan])
    assert found.to_polars()["state:event_time"].to_list() == [minute(1), None]
    assert found.fallbacks == {}


class Down:
    """A store that answers until it is told not to."""

    def __init__(self, online) -> None:
        self.online, self.down, self.reads = online, False, 0

    def read(self, table, keys):
        self.reads += 1
        if self.down:
            raise StorageError("the online store does not answer")
        return self.online.read(table, keys)


@pytest.mark.parametrize(("service", "y"), [("careless", np.nan), ("stale", 2.5)])
def test_where_the_store_does_not_answer_the_policy_does_and_is_counted(room, service, y):
    """F17."""
    store = Down(room.stores.online)
    reader = Retriever(room.service(service), store)
    entities = [{"name": "a", "number": 1}]
    before = reader.ask(entities, minute(5))
    assert (before["state:y"].tolist(), before["recent:count_9m"].tolist()) == ([2.5], [1.0])
    counted = FEATURE_FALLBACKS.labels("state", "default" if service == "careless" else "stale")
    told, store.down = counted._value.get(), True
    found = reader.ask(entities, minute(5))
    np.testing.assert_array_equal(found["state:y"], [y])
    np.testing.assert_array_equal(found["recent:count_9m"], [np.nan if service == "careless" else 1.0])
    assert set(found.fallbacks) == {"state", "recent"}
    assert counted._value.get() == told + 1
    if service == "careless":
        assert found["state:x"].tolist() == [-1.0]


def test_a_store_that_is_down_is_left_alone_for_a_while_and_asked_again_then(room, monkeypatch):
    """F17: no request waits for it, and it is not run over when it is back."""
    store = Down(room.stores.online)
    moment = [100.0]
    monkeypatch.setattr(fallback_module.time, "monotonic", lambda: moment[0])
    reader, entities = Retriever(room.service("careless"), store), [{"name": "a", "number": 1}]
    reader.ask(entities, minute(5))
    store.down, store.reads = True, 0
    for _ in range(50):
        reader.ask(entities, minute(5))
    assert store.reads == 1
    store.down = False
    moment[0] += 1.0
    assert reader.ask(entities, minute(5))["state:y"].tolist() == [2.5]


def test_without_a_policy_a_store_that_is_down_is_an_error(room):
    store = Down(room.stores.online)
    reader = Retriever(room.service("strict"), store)
    reader.ask([{"name": "a", "number": 1}], minute(5))
    store.down = True
    with pytest.raises(StorageError, match="does not answer"):
        reader.ask([{"name": "a", "number": 1}], minute(5))


@pytest.mark.parametrize(
    ("entities", "said"),
    [
        ([{"name": "a"}], "the entity key 'number' is missing"),
        ([{"name": "a", "number": 1.5}], "'number' is float64, and it is a whole number"),
        ([{"name": 7, "number": 1}], "'name' is int64, and it is a text"),
        ([{"name": "a", "number": "x"}], "'number' is text, and it is a whole number"),
        ([{"name": "a", "number": 1, "nmae": "b"}], "no key or request field 'nmae'"),
        ([{"name": "a", "number": 1, "event_time": "2024-01-01T00:00:00"}], "name no zone"),
        (7, "are no table"),
    ],
)
def test_entities_that_cannot_be_are_named_by_their_column(room, entities, said):
    with pytest.raises(RequestError, match=said):
        Retriever(room.service("strict"), room.stores.online).ask(entities, minute(5))


def test_entities_come_as_frames_columns_and_mappings(room):
    reader = Retriever(room.service("strict"), room.stores.online)
    frame = pl.DataFrame({"name": ["a"], "number": [1]})
    for entities in (frame, frame.to_pandas(), {"name": ["a"], "number": ["1"]}, [{"name": "a", "number": 1}]):
        assert reader.ask(entities, minute(5))["state:y"].tolist() == [2.5]


def test_what_is_said_for_people_changes_no_value_and_computes_nothing_anew(tmp_path):
    room = open_room(tmp_path, DEFINITIONS, rows=table(ROWS, **SCHEMA))
    first = room.compute("state")[0]
    room.stores.close()
    for before, after, reused in (
        ('unit="min"', 'unit="minutes"', True),
        ('ttl="10m"', 'ttl="10m", schedule="@daily", owner="us", tags=("new",)', True),
        ("default=-1.0", "default=-2.0", False),
    ):
        room = open_room(tmp_path, DEFINITIONS.replace(before, after), rows=table(ROWS, **SCHEMA))
        assert room.compute("state")[0].reused is reused
        room.stores.close()
    room = open_room(tmp_path, DEFINITIONS, rows=table(ROWS, **SCHEMA))
    again = room.compute("state")[0]
    assert (again.version, again.reused) == (first.version, True)


def view(**changes):
    given = {"entity": "e", "source": "s", "event_time": "t", "features": {"x": "float64"}, "sql": "SELECT 1"}
    return FeatureView("v", **{**given, **changes})


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: view(sql=""), DefinitionError, "needs a function or sql"),
        (lambda: view(features={}), DefinitionError, "declares no features"),
        (lambda: view(features={"x": Feature("float64", default="one")}), DefinitionError, "default of feature 'v:x'"),
        (lambda: view(features={"x": Feature("string", default=1)}), DefinitionError, "default of feature 'v:x'"),
        (lambda: view(features={"x": Feature("flaot64")}), NotFoundError, "Did you mean 'float64'"),
        (lambda: view(schedule="dayly"), DefinitionError, "'dayly' is not a schedule"),
        (lambda: FeatureService("s", features=()), DefinitionError, "has no features"),
        (lambda: FeatureService("s", features=("v",), expired="stael"), NotFoundError, "Did you mean 'stale'"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_where_it_is_made(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_service_is_asked_for_by_name_and_models_read_by_it(room):
    resolved = room.service("careless")
    assert resolved.features == ("state:x", "state:y", "recent:count_9m")
    assert resolved.policy.unavailable == "default"
    assert room.service("strict", "plain").features == ("state:y", "plain:total")
    with pytest.raises(NotFoundError, match="Did you mean 'strict'"):
        room.service("strikt")


def test_features_that_were_never_materialised_are_missing_and_not_an_error(tmp_path: Path):
    room = open_room(tmp_path, DEFINITIONS, rows=table(ROWS, **SCHEMA))
    assert ask(room, "careless", 5, "a")["state:x"].tolist() == [-1.0]
