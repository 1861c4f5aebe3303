"""On-demand views: declared by their function, and held to what they declare."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import DataError, DefinitionError, NotFoundError
from carrara.features.on_demand import OnDemandView, on_demand_view, run_on_demand

X = np.array([1.0, np.nan, 3.0])


def view_of(function, features=("y",)) -> OnDemandView:
    return OnDemandView("v", {"x": "float64"}, (), dict.fromkeys(features, "float64"), function)


def test_its_features_are_float64_columns_with_nan_for_missing():
    made = run_on_demand(view_of(lambda x: {"y": x > 2, "z": [1, 2, 3]}, ("y", "z")), {"x": X})
    assert {name: values.dtype for name, values in made.items()} == {"y": np.float64, "z": np.float64}
    np.testing.assert_array_equal(made["y"], [0.0, 0.0, 1.0])


def test_a_feature_that_is_declared_a_text_is_one_and_none_where_it_is_missing():
    texts = np.array(["a", None, "c"], dtype=object)
    view = OnDemandView("v", {"x": "string"}, (), {"y": "string"}, lambda x: {"y": x})
    assert run_on_demand(view, {"x": texts})["y"].tolist() == ["a", None, "c"]
    with pytest.raises(DataError, match=r"feature 'v:y' is declared a text, and 1\.5 is none"):
        run_on_demand(view, {"x": np.array(["a", 1.5], dtype=object)})


def test_its_features_come_in_the_order_in_which_they_are_declared():
    made = run_on_demand(view_of(lambda x: {"z": x, "y": x}, ("y", "z")), {"x": X})
    assert list(made) == ["y", "z"]


def test_parameters_that_are_not_its_fields_and_inputs_are_refused():
    with pytest.raises(DefinitionError, match=r"takes \(x, length\), and its .* are \(x, seats\)"):

        @on_demand_view(request={"x": "float64"}, inputs=("plane:seats",), features={"y": "float64"})
        def v(x, length):
            return {"y": x}


def test_parameters_in_another_order_are_refused():
    with pytest.raises(DefinitionError, match=r"takes \(seats, x\)"):

        @on_demand_view(request={"x": "float64"}, inputs=("plane:seats",), features={"y": "float64"})
        def v(seats, x):
            return {"y": x}


def test_an_unknown_type_names_the_nearest():
    with pytest.raises(NotFoundError, match=r"(?s)no type 'flaot64' \(asked by feature 'v:x'\).*'float64'"):
        OnDemandView("v", {"x": "flaot64"}, (), {"y": "float64"}, lambda x: {"y": x})


def test_a_view_that_reads_nothing_is_refused():
    with pytest.raises(DefinitionError, match="on-demand view 'v' reads nothing"):
        OnDemandView("v", {}, (), {"y": "float64"}, lambda: {"y": np.zeros(1)})


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x, "returned ndarray, and declares y"),
        (lambda x: None, "returned NoneType, and declares y"),
        (lambda x: {"yy": x}, "returned yy, and declares y"),
        (lambda x: {"y": x, "z": x}, "returned y, z, and declares y"),
        (lambda x: {}, "returned , and declares y"),
        (lambda x: {"y": x[:2]}, r"feature 'v:y' has shape \(2,\), and \(3,\) is expected"),
        (lambda x: {"y": 1.0}, r"feature 'v:y' has shape \(\), and \(3,\) is expected"),
        (lambda x: {"y": x[:, None]}, r"feature 'v:y' has shape \(3, 1\)"),
        (lambda x: {"y": np.array(["a", "b", "c"])}, "feature 'v:y' is not numbers"),
        (lambda x: {"y": [[1.0], [1.0, 2.0], []]}, "feature 'v:y' is not numbers"),
        (lambda x: {"y": x / 0 if x[5] else x}, "on-demand view 'v' failed: IndexError"),
    ],
)
def test_what_it_must_not_return_is_named(function, said):
    with pytest.raises(DataError, match=said):
        run_on_demand(view_of(function), {"x": X})


def test_a_function_that_writes_into_its_columns_is_refused():
    def spoil(x):
        x[:] = 0
        return {"y": x}

    columns = {"x": X.copy()}
    with pytest.raises(DataError, match="read-only"):
        run_on_demand(view_of(spoil), columns)
    np.testing.assert_array_equal(columns["x"], X)
