"""Statistics: those of parts, merged, are those of the whole; and each figure is what Polars or NumPy say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.data import statistics as statistics_module
from carrara.data.association import associations
from carrara.data.sketches import frequent as frequent_module, quantiles as quantiles_module
from carrara.data.statistics import Statistics, profile

SCHEMA = {
    "x": pl.Float64(),
    "n": pl.Int64(),
    "s": pl.String(),
    "b": pl.Boolean(),
    "t": pl.Datetime("us", "UTC"),
    "l": pl.List(pl.Int64()),
}
ROW = st.fixed_dictionaries(
    {
        "x": st.none() | st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(max_size=4),
        "b": st.none() | st.booleans(),
        "t": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
        "l": st.none() | st.lists(st.integers(0, 9), max_size=4),
    }
)
PARTS = st.lists(st.lists(ROW, max_size=25), min_size=1, max_size=4)


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def same(one, other, scale: float = 0.0) -> bool:
    """Equal, with floats to nine digits of the column's largest value: sums in another order differ in the last."""
    if isinstance(one, dict):
        ends = [abs(one[key]) for key in ("min", "max") if isinstance(one.get(key), float)]
        return one.keys() == other.keys() and all(same(one[key], other[key], max(ends, default=scale)) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b, scale) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * scale + 1e-12)
    return one == other


@pytest.mark.parametrize("room", [4_096, 8], ids=["exact", "sketched"])
def test_statistics_of_parts_merged_are_those_of_the_whole(room, monkeypatch):
    monkeypatch.setattr(quantiles_module, "MOST_BINS", room)

    @settings(max_examples=80, derandomize=True, deadline=None)
    @given(parts=PARTS)
    def check(parts):
        whole = profile(frame([row for part in parts for row in part]))
        merged = profile(frame(parts[0]))
        for part in parts[1:]:
            merged.merge(Statistics.from_bytes(profile(frame(part)).to_bytes()))
        assert same(merged.summary(), whole.summary())
        batched = profile(frame(part) for part in parts)
        assert same(batched.summary(), whole.summary())

    check()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40))
def test_each_figure_is_what_polars_says(rows):
    table = frame(rows)
    found = profile(table).summary()
    for name in SCHEMA:
        assert (found[name]["rows"], found[name]["nulls"]) == (table.height, table[name].null_count())
    numbers = table["x"].drop_nulls()
    finite = numbers.filter(numbers.is_finite())
    assert found["x"]["nan"] == numbers.is_nan().sum()
    assert found["x"]["infinite"] == numbers.is_infinite().sum()
    assert found["x"]["zeros"] == (finite == 0).sum()
    assert (found["x"]["min"], found["x"]["max"]) == (finite.min(), finite.max())
    if len(finite):
        assert found["x"]["mean"] == pytest.approx(finite.mean(), abs=1e-3)
        assert found["x"]["quantiles"] == pytest.approx(np.quantile(finite, np.linspace(0, 1, 11)).tolist())
        assert sum(found["x"]["histogram"]["counts"]) == len(finite)
    assert found["s"]["distinct"] == table["s"].drop_nulls().n_unique()
    top = table["s"].drop_nulls().value_counts().rows()
    assert {(t["value"], t["rows"]) for t in found["s"]["top"]} <= set(top)
    lengths = table["l"].drop_nulls().list.len()
    assert found["l"]["lengths"]["max"] == lengths.max()


def test_large_whole_numbers_are_distinct_although_floats_are_not():
    numbers = [2**60 + n for n in range(300)]
    assert len(set(map(float, numbers))) < 300
    found = profile(pl.DataFrame({"id": numbers})).summary()["id"]
    assert found["distinct"] == pytest.approx(300, rel=0.03)
    assert not found["distinct_exact"]


def test_many_texts_are_counted_by_a_sketch_and_in_parts_as_in_whole(monkeypatch):
    monkeypatch.setattr(frequent_module, "MOST_VALUES", 100)
    texts = pl.DataFrame({"s": [f"user-{n}" for n in range(5_000)]})
    whole = profile(texts)
    merged = profile(texts[:2_000])
    merged.merge(profile(texts[2_000:]))
    assert merged.columns["s"].count_distinct() == whole.columns["s"].count_distinct()
    assert whole.columns["s"].count_distinct()[0] == pytest.approx(5_000, rel=0.03)


def test_weighted_figures_are_those_of_rows_that_come_as_often():
    table = pl.DataFrame({"x": [1.0, 4.0, None, 9.0], "s": ["a", "b", "a", None], "w": [2, 1, 3, 2]})
    repeated = table.select(pl.exclude("w").repeat_by("w").explode())
    found = profile(table, weight="w").summary()
    expected = profile(repeated).summary()
    for figure in ("mean", "std", "quantiles", "histogram", "zeros"):
        assert same(found["x"]["weighted"][figure], expected["x"][figure])
    assert found["s"]["weighted"]["top"] == expected["s"]["top"]
    assert found["x"]["weighted"]["rows"] == repeated.height


def test_negative_weights_are_refused():
    with pytest.raises(DataError, match="'w' go below zero"):
        profile(pl.DataFrame({"x": [1.0], "w": [-1.0]}), weight="w")


def test_a_slice_has_the_statistics_of_its_rows():
    table = pl.DataFrame({"x": [1.0, 2.0, 5.0, 7.0], "c": ["a", "b", "a", None]})
    parts = profile(table, slices=["c"])
    assert set(parts.slices) == {"c=a", "c=b", "c=None"}
    assert parts.slices["c=a"].summary() == profile(table.filter(pl.col("c") == "a")).summary()


def test_a_column_of_too_many_values_cannot_be_sliced_by():
    with pytest.raises(DataError, match="'id' has more than 100 values"):
        profile(pl.DataFrame({"id": range(200)}), slices=["id"])


def test_times_have_a_range_and_their_largest_gap():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=n) for n in (0, 1, 2, 90, 91)]
    found = profile(pl.DataFrame({"at": times})).summary()["at"]
    assert (found["min"], found["max"]) == (times[0].isoformat(), times[-1].isoformat())
    assert found["largest_gap"] == {
        "seconds": 88 * 60.0,
        "at_most": 88 * 60.0,
        "after": times[2].isoformat(),
        "before": times[3].isoformat(),
    }


def test_the_gap_of_many_times_lies_between_its_bounds():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    seconds = [n * 7 + (40_000 if n > 25_000 else 0) for n in range(50_000)]
    table = pl.DataFrame({"at": [start + timedelta(seconds=s) for s in seconds]})
    gap = profile(table).columns["at"].largest_gap()
    assert gap["seconds"] <= 40_007 <= gap["at_most"]
    assert gap["at_most"] - gap["seconds"] < 600


def test_columns_without_values_or_rows_have_figures_all_the_same():
    empty = pl.DataFrame(schema={**SCHEMA, "nothing": pl.Null()})
    nulls = pl.DataFrame({name: [None, None] for name in empty.columns}, schema=empty.schema)
    for table in (empty, nulls):
        found = profile(table).summary()
        assert [column["distinct"] for column in found.values()] == [0] * len(found)
        assert found["x"]["mean"] is None
        assert Statistics.from_bytes(profile(table).to_bytes()).summary() == found


def test_parts_of_different_types_cannot_be_merged():
    one, other = profile(pl.DataFrame({"a": [1]})), profile(pl.DataFrame({"a": ["x"]}))
    with pytest.raises(ColumnTypeMismatch, match="'a'"):
        one.merge(other)


def test_a_column_that_a_part_lacks_is_null_there():
    one = profile(pl.DataFrame({"a": [1, 2]}))
    one.merge(profile(pl.DataFrame({"a": [3], "b": ["x"]})))
    found = one.summary()
    assert (found["b"]["rows"], found["b"]["nulls"], one.rows) == (3, 2, 3)


def test_five_thousand_columns_go_in_small_batches(monkeypatch):
    seen = []
    monkeypatch.setattr(
        statistics_module.Statistics, "add", lambda self, batch: seen.append(batch.width * batch.height)
    )
    profile(pl.DataFrame({f"c{n}": [0] * 4_000 for n in range(5_000)}))
    assert sum(seen) == 20_000_000
    assert max(seen) <= statistics_module.BATCH_CELLS


def test_association_ranks_what_tells_of_the_label_first():
    random = np.random.default_rng(0)
    label = random.random(20_000) < 0.4
    table = pl.DataFrame(
        {
            "label": label,
            "noise": random.random(20_000),
            "shifted": random.normal(size=20_000) + label,
            "category": np.where(label, "yes", random.choice(["no", "yes"], 20_000)),
            "same": label.astype(int),
            "name": [f"row {n}" for n in range(20_000)],
        }
    )
    found = associations(table, profile(table), "label")
    assert found[0].column == "same"
    assert {one.column for one in found[-2:]} == {"noise", "name"}
    by_name = {one.column: one for one in found}
    assert by_name["same"].share == pytest.approx(1.0)
    assert by_name["noise"].mutual_information < 1e-3
    expected = float(np.corrcoef(table["shifted"], label)[0, 1])
    assert by_name["shifted"].correlation == pytest.approx(expected, abs=1e-9)
    assert by_name["category"].correlation is None
