"""Feature references: found with what they need, or refused with the nearest right name."""

from __future__ import annotations

import pytest
from feature_room import PRELUDE

from carrara.core.definitions import Definitions, load_recorded_definitions
from carrara.core.errors import DefinitionCycle, DefinitionError, NotFoundError
from carrara.features.service import resolve_features

DEFINITIONS = """
driver = carrara.Entity("driver", keys=("driver",))
route = carrara.Entity("route", keys=("origin", "dest"))


@carrara.feature_view(entity="route", source="rows", event_time="t", features={"length": "float64", "tolls": "int64"})
def routes(rows):
    return rows


trips = carrara.AggregateView(
    "trips", entity="driver", source="rows", event_time="t", aggregations=(carrara.count(windows=("1h", "1d")),)
)


@carrara.on_demand_view(request={"speed": "float64", "origin": "string"}, inputs=("routes:length",),
                        features={"hours": "float64"})
def ride(speed, origin, length):
    return {"hours": length / speed}


@carrara.on_demand_view(request={}, inputs=("ride:hours", "trips:count_1d"), features={"tired": "float64"})
def rest(hours, count_1d):
    return {"tired": hours * count_1d}
"""


def load(more: str = "") -> Definitions:
    return load_recorded_definitions({"definitions.py": PRELUDE + DEFINITIONS + more}, "test")


def resolve(*references: str, more: str = ""):
    return resolve_features(load(more), references, where="model 'late'")


def test_a_view_stands_for_all_its_features_in_their_order():
    assert resolve("routes", "trips:count_1d").features == ("routes:length", "routes:tolls", "trips:count_1d")


def test_the_inputs_of_a_view_come_before_it_and_are_not_features_of_the_service():
    service = resolve("rest")
    assert service.features == ("rest:tired",)
    assert [view.name for view, _ in service.stored] == ["routes", "trips"]
    assert [view.name for view in service.on_demand] == ["ride", "rest"]


def test_a_service_names_the_keys_and_the_other_fields_that_a_request_must_give():
    service = resolve("rest", "routes")
    assert service.keys == ("origin", "dest", "driver")
    assert service.request == {"speed": "float64"}


def test_an_unknown_view_names_the_nearest():
    with pytest.raises(NotFoundError, match=r"(?s)no feature view 'rotes' \(asked by model 'late'\).*'routes'"):
        resolve("rotes:length")


def test_an_unknown_feature_names_the_nearest():
    with pytest.raises(NotFoundError, match=r"(?s)no feature 'routes:lenght'.*Did you mean 'routes:length'"):
        resolve("routes:lenght")
    with pytest.raises(NotFoundError, match=r"(?s)no feature 'trips:count_2d'.*Did you mean 'trips:count_1d'"):
        resolve("trips:count_2d")


def test_an_unknown_entity_names_the_nearest():
    more = """
@carrara.feature_view(entity="drivr", source="rows", event_time="t", features={"x": "float64"})
def age(rows):
    return rows
"""
    with pytest.raises(NotFoundError, match=r"(?s)no entity 'drivr' \(asked by feature view 'age'\).*'driver'"):
        resolve("age", more=more)


def test_an_unknown_input_of_an_on_demand_view_names_the_view_that_asks():
    more = """
@carrara.on_demand_view(request={}, inputs=("routes:lengh",), features={"x": "float64"})
def far(lengh):
    return {"x": lengh}
"""
    with pytest.raises(NotFoundError, match=r"(?s)'routes:lengh' \(asked by on-demand view 'far'\).*'routes:length'"):
        resolve("far", more=more)


def test_a_feature_that_is_named_twice_is_refused():
    with pytest.raises(DefinitionError, match="model 'late' names the feature 'routes:length' twice"):
        resolve("routes", "routes:length")


def test_on_demand_views_that_need_each_other_are_named_in_their_circle():
    more = """
@carrara.on_demand_view(request={}, inputs=("hen:h",), features={"e": "float64"})
def egg(h):
    return {"e": h}


@carrara.on_demand_view(request={}, inputs=("egg:e",), features={"h": "float64"})
def hen(e):
    return {"h": e}
"""
    with pytest.raises(DefinitionCycle, match="egg → hen → egg") as raised:
        resolve("egg", more=more)
    assert raised.value.path == ("egg", "hen", "egg")


def test_an_on_demand_view_that_needs_itself_is_a_circle():
    more = """
@carrara.on_demand_view(request={}, inputs=("ego:e",), features={"e": "float64"})
def ego(e):
    return {"e": e}
"""
    with pytest.raises(DefinitionCycle, match="ego → ego"):
        resolve("ego", more=more)


def test_a_changed_function_changes_the_service_and_a_comment_does_not():
    same = resolve_features(load("# nothing new\n"), ("rest",), where="").spec()
    text = DEFINITIONS.replace("hours * count_1d", "hours + count_1d")
    changed = load_recorded_definitions({"definitions.py": PRELUDE + text}, "changed")
    assert resolve("rest").spec() == same
    assert resolve_features(changed, ("rest",), where="").spec() != same
