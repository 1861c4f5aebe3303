"""Feature tables: computed once per definition and data, or refused with the column at fault."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, table

from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, DataError, NotFoundError, TimeWithoutZone
from carrara.features.offline import compute_feature_table, current_table, list_feature_tables, scan_table
from carrara.features.rows import EVENT_TIME, KNOWN_AT

VIEW = """
thing = carrara.Entity("thing", keys=("name", "number"))
rows = carrara.Dataset("rows", source="rows.parquet")


@carrara.feature_view(entity="thing", source="rows", event_time="event", {more}features={features})
def v(rows):
    return {returned}
"""
WINDOWS = """
thing = carrara.Entity("thing", keys=("name", "number"))
rows = carrara.Dataset("rows", source="rows.parquet")
v = carrara.AggregateView("v", entity="thing", source="rows", event_time="{time}",
                          aggregations=(carrara.mean("{column}", windows=("1h",)),))
"""
ROWS = [
    {"name": "a", "number": 1, "event": minute(1), "created": minute(2), "x": 1.0, "word": "one"},
    {"name": "a", "number": 2, "event": minute(1), "created": minute(1), "x": 2.0, "word": "two"},
    {"name": None, "number": 1, "event": minute(1), "created": minute(1), "x": 3.0, "word": "three"},
    {"name": "b", "number": 1, "event": None, "created": minute(1), "x": 4.0, "word": "four"},
]
SCHEMA = {"x": pl.Float64(), "word": pl.String()}


def frame(rows: list[dict] = ROWS) -> pl.DataFrame:
    return table(rows, **SCHEMA)


def view_room(
    folder: Path, returned: str = "rows", features: str = '{"x": "float64"}', more: str = "", **tables
) -> Room:
    definitions = VIEW.format(more=more, features=features, returned=returned)
    return open_room(folder, definitions, **{"rows": frame(), **tables})


def refused(folder: Path, error: type[Exception], said: str, **view) -> None:
    room = view_room(folder, **view)
    with pytest.raises(error, match=said):
        room.compute("v")
    assert list_feature_tables(room.stores) == []


def test_a_table_is_computed_once_for_a_definition_and_its_data(tmp_path):
    room = view_room(tmp_path)
    first, second = room.compute("v")[0], room.compute("v")[0]
    assert (first.version, first.reused, second.version, second.reused) == (1, False, 1, True)
    room.put(rows=frame(ROWS[:1]))
    assert (room.compute("v")[0].version, len(list_feature_tables(room.stores))) == (2, 2)


def test_rows_without_a_key_or_a_time_are_not_in_the_table(tmp_path):
    room = view_room(tmp_path)
    (made,) = room.compute("v")
    rows = scan_table(room.stores, made).collect()
    assert rows.columns == ["name", "number", "x", EVENT_TIME, KNOWN_AT]
    assert rows.rows() == [("a", 1, 1.0, minute(1), minute(1)), ("a", 2, 2.0, minute(1), minute(1))]
    assert made.rows == 2
    assert made.statistics["x"]["mean"] == 1.5


def test_a_row_is_known_when_it_was_created_and_never_before_its_event(tmp_path):
    rows = [{**ROWS[0], "created": minute(7)}, {**ROWS[1], "created": minute(0)}]
    room = view_room(tmp_path, more='created_time="created", ', rows=frame(rows))
    (made,) = room.compute("v")
    assert scan_table(room.stores, made).collect()[KNOWN_AT].to_list() == [minute(7), minute(1)]


def test_rows_that_became_known_at_one_moment_leave_only_the_one_that_can_be_seen(tmp_path):
    made = [(3, 9, 3.0), (1, 9, 1.0), (5, 2, 52.0), (5, 4, 54.0)]
    rows = [{**ROWS[0], "event": minute(e), "created": minute(c), "x": x} for e, c, x in made]
    room = view_room(tmp_path, more='created_time="created", ', rows=frame(rows))
    (made,) = room.compute("v")
    assert scan_table(room.stores, made).collect()["x"].to_list() == [54.0]


def test_equal_rows_make_an_equal_table_in_whatever_order_they_come(tmp_path):
    one, other = view_room(tmp_path / "one"), view_room(tmp_path / "other", rows=frame(ROWS[::-1]))
    assert one.compute("v")[0].digest == other.compute("v")[0].digest


def test_a_missing_feature_column_names_it_and_the_nearest(tmp_path):
    said = r"(?s)feature view 'v' has no column 'x'.*Did you mean 'xx'"
    refused(tmp_path, ColumnMissing, said, returned='rows.rename({"x": "xx"})')


def test_a_missing_event_time_names_it_and_the_nearest(tmp_path):
    said = r"(?s)feature view 'v' has no column 'event'.*Did you mean 'events'"
    refused(tmp_path, ColumnMissing, said, returned='rows.rename({"event": "events"})')


def test_a_missing_created_time_names_it_and_the_nearest(tmp_path):
    said = r"(?s)feature view 'v' has no column 'creatd'.*Did you mean 'created'"
    refused(tmp_path, ColumnMissing, said, more='created_time="creatd", ')


def test_a_missing_key_names_it_and_the_nearest(tmp_path):
    said = r"(?s)feature view 'v' has no column 'number'.*Did you mean 'numbers'"
    refused(tmp_path, ColumnMissing, said, returned='rows.rename({"number": "numbers"})')


@pytest.mark.parametrize("declared", ["int64", "bool", "string", "datetime"])
def test_a_feature_of_another_type_than_declared_is_refused(tmp_path, declared):
    said = f"column 'x' of feature view 'v' is float64, and {declared} was declared"
    refused(tmp_path, ColumnTypeMismatch, said, features=f'{{"x": "{declared}"}}')


def test_whole_numbers_may_be_declared_as_floats(tmp_path):
    room = view_room(tmp_path, returned='rows.with_columns(x=nw.col("number"))')
    (made,) = room.compute("v")
    assert scan_table(room.stores, made).collect()["x"].to_list() == [1.0, 2.0]


def test_a_key_that_is_a_float_or_a_time_is_refused(tmp_path):
    for place, cast in enumerate(("nw.Float64", 'nw.Datetime("us", "UTC")')):
        returned = f'rows.with_columns(number=nw.col("number").cast({cast}))'
        refused(
            tmp_path / str(place), ColumnTypeMismatch, "column 'number' .* a key of entity 'thing'", returned=returned
        )


@pytest.mark.parametrize("column", ["event", "created"])
def test_a_time_without_a_zone_is_refused(tmp_path, column):
    said = f"the times in '{column}' of feature view 'v' name no zone"
    returned = f'rows.with_columns({column}=nw.col("{column}").dt.replace_time_zone(None))'
    refused(tmp_path, TimeWithoutZone, said, returned=returned, more='created_time="created", ')


def test_a_time_that_is_a_text_is_refused(tmp_path):
    said = "column 'event' of feature view 'v' is string, and datetime was declared"
    refused(tmp_path, ColumnTypeMismatch, said, returned='rows.with_columns(event=nw.lit("2024-01-01"))')


def test_several_rows_for_one_key_and_time_are_refused_with_an_example(tmp_path):
    said = r"(?s)several rows for one key and time: \{'name': 'a', 'number': 1, 'event': .*created_time that tells"
    refused(tmp_path, DataError, said, rows=frame([ROWS[0], {**ROWS[0], "x": 2.0}]))


def test_rows_for_one_key_and_time_are_told_apart_by_their_created_time(tmp_path):
    rows = frame([ROWS[0], {**ROWS[0], "created": minute(5), "x": 2.0}])
    assert view_room(tmp_path / "apart", more='created_time="created", ', rows=rows).compute("v")[0].rows == 2
    same = frame([ROWS[0], {**ROWS[0], "x": 2.0}])
    refused(tmp_path / "same", DataError, r"'created': ", more='created_time="created", ', rows=same)


def test_a_function_that_fails_is_named(tmp_path):
    refused(tmp_path, DataError, "function of feature view 'v' failed: ZeroDivisionError", returned="1 / 0")


def test_a_function_that_returns_no_frame_is_named(tmp_path):
    refused(tmp_path, DataError, "function of feature view 'v' returned int, and a frame is expected", returned="3")


def test_an_unknown_type_is_refused_where_it_is_declared(tmp_path):
    with pytest.raises(NotFoundError, match=r"(?s)no type 'flaot64' \(asked by feature 'v:x'\).*'float64'"):
        view_room(tmp_path, features='{"x": "flaot64"}')


def test_an_unknown_entity_and_an_unknown_dataset_name_the_nearest(tmp_path):
    definitions = VIEW.format(more="", features='{"x": "float64"}', returned="rows")
    room = open_room(tmp_path / "e", definitions.replace('entity="thing"', 'entity="thng"'), rows=frame())
    with pytest.raises(NotFoundError, match=r"(?s)no entity 'thng' \(asked by feature view 'v'\).*'thing'"):
        room.compute("v")
    room = open_room(tmp_path / "d", definitions.replace('source="rows"', 'source="rosw"'), rows=frame())
    with pytest.raises(NotFoundError, match=r"(?s)no dataset 'rosw'.*'rows'"):
        room.compute("v")


def test_a_table_of_an_earlier_definition_is_not_the_current_one(tmp_path):
    room = view_room(tmp_path)
    room.compute("v")
    changed = open_room(tmp_path, VIEW.format(more='ttl="1h", ', features='{"x": "float64"}', returned="rows"))
    with pytest.raises(
        DataError, match=r"(?s)'v' has not been computed as it is defined now.*carrara feature compute v"
    ):
        current_table(changed.stores, changed.view("v"))
    changed.compute("v")
    assert current_table(changed.stores, changed.view("v")).version == 2
    assert current_table(room.stores, room.view("v")).version == 1


def windows_room(folder: Path, column: str = "x", time: str = "event") -> Room:
    return open_room(folder, WINDOWS.format(column=column, time=time), rows=frame())


def test_the_events_of_an_aggregate_view_have_keys_and_times(tmp_path):
    room = windows_room(tmp_path)
    (made,) = room.compute("v")
    rows = scan_table(room.stores, made).collect()
    assert rows.rows() == [("a", 1, 1.0, minute(1), minute(1)), ("a", 2, 2.0, minute(1), minute(1))]


def test_an_aggregate_view_of_a_missing_column_names_it_and_the_nearest(tmp_path):
    with pytest.raises(ColumnMissing, match=r"(?s)read by aggregate view 'v'.* no column 'wrd'.*'word'"):
        windows_room(tmp_path / "column", column="wrd").compute("v")
    with pytest.raises(ColumnMissing, match=r"(?s)no column 'evnt'.*'event'"):
        windows_room(tmp_path / "time", time="evnt").compute("v")


def test_an_aggregate_view_of_texts_or_of_a_time_that_is_none_is_refused(tmp_path):
    with pytest.raises(ColumnTypeMismatch, match=r"column 'word' .* is string, and a number was declared"):
        windows_room(tmp_path / "column", column="word").compute("v")
    with pytest.raises(ColumnTypeMismatch, match=r"column 'word' .* is string, and datetime was declared"):
        windows_room(tmp_path / "time", time="word").compute("v")


def test_computing_records_a_run_and_what_the_table_was_made_from(tmp_path):
    from carrara.metadata.lineage import upstream
    from carrara.metadata.runs import list_runs

    room = view_room(tmp_path)
    room.ingest()
    made = compute_feature_table(room.stores, room.definitions, room.view("v"))
    assert [(run.name, run.state) for run in list_runs(room.stores.metadata, "compute")] == [("v", "complete")]
    assert "dataset:rows@1" in [edge.source for edge in upstream(room.stores.metadata, made.address)]


def test_a_failed_computation_is_recorded_as_failed(tmp_path):
    from carrara.metadata.runs import list_runs

    refused(tmp_path, DataError, "ZeroDivisionError", returned="1 / 0")
    room = view_room(tmp_path, returned="1 / 0")
    assert [run.state for run in list_runs(room.stores.metadata, "compute")] == ["failed"]


def test_times_of_a_view_may_be_in_any_zone(tmp_path):
    returned = 'rows.with_columns(event=nw.col("event").dt.convert_time_zone("America/New_York"))'
    room = view_room(tmp_path, returned=returned)
    (made,) = room.compute("v")
    rows = scan_table(room.stores, made).collect()
    assert rows.schema[EVENT_TIME] == UTC_TIME
    assert rows[EVENT_TIME].to_list() == [minute(1), minute(1)]
