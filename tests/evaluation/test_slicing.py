"""Slices by SQL: expressions over a row's columns, by names of their own."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from carrara.core.errors import ColumnMissing, DefinitionError
from carrara.data.rows import BATCH_ROWS, StoredRows
from carrara.evaluation.slices import measure_slices
from carrara.evaluation.slicing import Slicing, expression

ROWS = pl.DataFrame(
    {
        "carrier": ["UA", "DL", "UA", None],
        "distance": [100.0, 2_500.0, None, 3_000.0],
        "weather:wind": [3, 20, 30, 1],
        "at": [datetime(2026, 11, day, tzinfo=UTC) for day in (27, 28, 29, 30)],
    }
)


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("distance > 2000", [False, True, None, True]),
        ("dayofweek(at) IN (0, 6)", [False, True, True, False]),
        ('"weather:wind" BETWEEN 10 AND 25', [False, True, False, False]),
        ("CASE WHEN distance > 200 THEN 'far' ELSE 'near' END", ["near", "far", "near", "far"]),
        ("carrier IN ('UA', 'AA') AND distance < 200", [True, False, None, False]),
        ("coalesce(carrier, 'none') LIKE '%A'", [True, False, True, False]),
        ("extract(day FROM at)", [27, 28, 29, 30]),
        ("at >= timestamp '2026-11-29'", [False, False, True, True]),
    ],
)
def test_an_expression_has_a_value_of_each_row(sql, values):
    slicing = Slicing.of([{"it": sql}])
    slicing.check(ROWS.schema, "the model")
    assert slicing.cells(ROWS)["it"].to_list() == values


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("distance >", "is no SQL"),
        ("distance > 1; drop table x", "is no SQL"),
        ("read_csv('/etc/passwd')", "is no SQL"),
        ("weather:wind > 3", "quoted"),
        ("1 > 2", "reads no column"),
        ("distance > avg(distance)", "more than its row"),
        ("max(carrier) IN ('UA')", "more than its row"),
        ("distance > count(*)", "more than its row"),
        ("row_number() OVER (ORDER BY distance)", "more than its row"),
    ],
)
def test_what_says_nothing_of_a_row_by_itself_is_refused_when_it_is_declared(sql, said):
    with pytest.raises(DefinitionError, match=said):
        Slicing.of([{"it": sql}])


def test_an_unknown_column_is_told_with_the_nearest_one_and_so_is_a_comparison_of_unlike_types():
    with pytest.raises(ColumnMissing, match="Did you mean 'distance'"):
        Slicing.of([{"it": "distnce > 3"}]).check(ROWS.schema, "the model")
    with pytest.raises(DefinitionError, match="'it' of the model"):
        Slicing.of([{"it": "distance + carrier > 3"}]).check(ROWS.schema, "the model")
    with pytest.raises(DefinitionError, match="a column is called that"):
        Slicing.of([{"carrier": "distance > 3"}]).check(ROWS.schema, "the model")
    with pytest.raises(DefinitionError, match="two slices are called 'it'"):
        Slicing.of([{"it": "distance > 3"}, {"it": "distance > 4"}])


def test_names_crosses_and_what_they_read():
    slicing = Slicing.of(["carrier", {"far": "distance > 2000"}, ("far", "carrier")], also=("zone",))
    assert slicing.names == ("carrier", "far", "zone")
    assert slicing.reads == ("carrier", "distance", "zone")
    there = slicing.within(["distance", "zone"])
    assert (there.names, there.crosses) == (("far", "zone"), ())
    both = there | Slicing.of([{"near": "distance < 9"}, "zone"])
    assert both.names == ("far", "zone", "near")
    assert set(both.expressions) == {"far", "near"}


def test_slices_by_sql_are_measured_as_columns_are_and_can_be_crossed():
    rows = pl.DataFrame({"n": range(4_000), "half": ["a", "b"] * 2_000})
    labels, scores = (rows["n"] % 3 == 0).to_numpy(), ((rows["n"] * 37 % 101) / 100).to_numpy()
    slicing = Slicing.of([{"late": "n >= 3000"}, ("late", "half")])
    found = measure_slices(labels, scores, slicing.cells(rows), ["brier"], crosses=slicing.crosses, bootstrap=2)
    by_hand = measure_slices(labels, scores, {"late": rows["n"] >= 3_000}, ["brier"], bootstrap=2)
    assert found[:2] == by_hand
    assert {(one.column, one.value, one.rows) for one in found if one.column == "late × half"} == {
        ("late × half", "false × a", 1_500),
        ("late × half", "false × b", 1_500),
        ("late × half", "true × a", 500),
        ("late × half", "true × b", 500),
    }


def test_rows_in_the_lake_are_read_in_batches_and_come_to_the_same():
    height = 2 * BATCH_ROWS + 7
    table = pl.DataFrame({"n": range(height)})
    wanted = table["n"] % 2 == 0
    stored = StoredRows(table.lazy(), wanted)
    cells = Slicing.of([{"third": "n % 3 = 0"}]).cells(stored)["third"]
    assert cells.equals((table.filter(wanted)["n"] % 3 == 0).alias("third"))


def test_an_expression_cannot_leave_the_row():
    for sql in ("distance IN (SELECT 1)", "(SELECT max(x) FROM read_parquet('f')) > distance"):
        with pytest.raises(DefinitionError):
            Slicing.of([{"it": sql}]).check(ROWS.schema, "the model")
    assert expression("it", "distance > 1").meta.root_names() == ["distance"]
