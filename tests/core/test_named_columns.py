"""Inputs that are moved as a whole against the same inputs one by one."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import RequestError
from carrara.core.named_columns import Columns, as_matrix
from carrara.models.signature import Signature, TensorSpec
from carrara.serving.protocols.coercion import coerced
from carrara.serving.protocols.json_rows import JsonRows


def signature(*dtypes: str) -> Signature:
    return Signature(tuple(TensorSpec(name, dtype) for name, dtype in zip("abc", dtypes, strict=False)), ())


FLOATS = signature("float32", "float32")


def test_rows_of_numbers_become_one_matrix_and_null_is_missing():
    found = coerced(JsonRows(("b", "a"), [{"b": 1, "a": 0.1}, {"a": None, "b": True - 3}]), FLOATS)
    assert isinstance(found, Columns)
    assert found["b"].tolist() == [1.0, -2.0]
    assert found["a"].dtype == np.float32
    assert np.isnan(found["a"][1])
    assert FLOATS.check(found, "m") == 2


@pytest.mark.parametrize("value", [True, "1", [1.0], 10**400, {"b64": "AA=="}])
def test_what_is_no_number_is_refused_by_its_name_as_it_is_one_by_one(value):
    rows = JsonRows(("a", "b"), [{"a": 1.0, "b": value}, {"a": 1.0, "b": 2.0}])
    with pytest.raises(RequestError) as whole:
        FLOATS.check(coerced(rows, FLOATS), "m")
    with pytest.raises(RequestError) as one_by_one:
        FLOATS.check(coerced(dict(rows), FLOATS), "m")
    assert str(whole.value) == str(one_by_one.value)


def test_a_signature_of_several_types_takes_each_column_by_its_own():
    mixed = signature("float32", "int64")
    found = coerced(JsonRows(("a", "b"), [{"a": 1, "b": 2**60 + 1}]), mixed)
    assert (found["a"].dtype, found["b"].tolist()) == (np.float32, [2**60 + 1])
    with pytest.raises(RequestError, match="'b'"):
        coerced(JsonRows(("a", "b"), [{"a": 1, "b": 2.5}]), mixed)


def test_names_that_the_signature_has_not_are_told():
    columns = Columns(("a", "z"), np.zeros((1, 2), np.float32))
    with pytest.raises(RequestError, match="no input 'z'"):
        FLOATS.check(coerced(columns, FLOATS), "m")


def test_the_matrix_has_the_columns_in_the_order_that_is_asked_for():
    columns = Columns(("b", "a", "c"), np.arange(6.0).reshape(2, 3))
    for names in (("a", "b", "c"), ("b", "a", "c")):
        wanted = np.column_stack([columns[name] for name in names])
        assert as_matrix(columns, names, np.dtype("float32")).tolist() == wanted.tolist()
    assert as_matrix(columns, ("c",), np.dtype("float32")).tolist() == [[2.0], [5.0]]
