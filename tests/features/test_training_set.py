"""Training sets: joined once, kept for good, and refused for labels that cannot be joined."""

from __future__ import annotations

import polars as pl
import pytest
from feature_room import UTC_TIME, Room, minute, open_room, table

from carrara.core.errors import ColumnMissing, ColumnTypeMismatch, DataError, NotFoundError, TimeWithoutZone
from carrara.data.versions import dataset_version
from carrara.features.training_set import TrainingSet, build_training_set, read_training_set
from carrara.metadata.lineage import upstream
from carrara.metadata.runs import run
from carrara.metadata.versions import list_versions

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("number",))
rows = carrara.Dataset("rows", source="rows.parquet")
labels = carrara.Dataset("labels", source="labels.parquet")


@carrara.feature_view(entity="thing", source="rows", event_time="event", features={"x": "float64"})
def state(rows):
    return rows


recent = carrara.AggregateView("recent", entity="thing", source="rows", event_time="event",
                               aggregations=(carrara.count(windows=("5m",)), carrara.total("x", windows=("5m",))))


@carrara.on_demand_view(request={"distance": "float64", "at": "datetime", "word": "string"}, inputs=("state:x",),
                        features={"far": "float64", "hour": "float64", "letters": "int64"})
def trip(distance, at, word, x):
    return {
        "far": distance * x,
        "hour": (at - at.astype("datetime64[D]")) / np.timedelta64(1, "h"),
        "letters": [len(w) for w in word],
    }


@carrara.on_demand_view(request={"distance": "float64"}, features={"double": "float64"})
def alone(distance):
    return {"double": distance * 2}
"""
ROWS = [{"number": n, "event": minute(n + t), "x": 10.0 * n + t} for n in (1, 2) for t in (0, 3)]
LABELS = [
    {"number": n, "at": minute(at), "distance": d, "word": w, "late": late, "unused": 1}
    for n, at, d, w, late in [(2, 6, 1.0, "one", True), (1, 2, 2.0, "three", False), (3, 90, None, "", None)]
]
LABEL_TYPES = {
    "distance": pl.Float64(), "word": pl.String(), "late": pl.Boolean(), "unused": pl.Int64(), "due": UTC_TIME
}  # fmt: skip
ALL = ("state", "recent", "trip")


def labels_frame(rows: list[dict] = LABELS) -> pl.DataFrame:
    return table(rows, **LABEL_TYPES)


@pytest.fixture
def room(tmp_path) -> Room:
    return open_room(tmp_path, DEFINITIONS, rows=table(ROWS, x=pl.Float64()), labels=labels_frame())


def build(room: Room, *references: str, keep: tuple[str, ...] = ("late",), time: str = "at") -> TrainingSet:
    room.compute("state", "recent")
    labels = dataset_version(room.stores, "labels")
    with run(room.stores.metadata, "train", "late", {}) as run_id:
        return build_training_set(
            room.stores, "late", room.service(*references), labels, time=time, keep=keep, run_id=run_id
        )


def test_a_training_set_holds_keys_fields_time_label_and_every_feature_at_its_time(room):
    made = build(room, *ALL)
    found, rows = read_training_set(room.stores, "late", made.version)
    assert found == made
    assert rows.collect().to_dicts() == [
        {
            "number": 1, "distance": 2.0, "word": "three", "at": minute(2), "late": False,
            "state:x": 10.0, "recent:count_5m": 1.0, "recent:x_sum_5m": 10.0,
            "trip:far": 20.0, "trip:hour": 2 / 60, "trip:letters": 5.0,
        },
        {
            "number": 2, "distance": 1.0, "word": "one", "at": minute(6), "late": True,
            "state:x": 23.0, "recent:count_5m": 2.0, "recent:x_sum_5m": 43.0,
            "trip:far": 23.0, "trip:hour": 0.1, "trip:letters": 3.0,
        },
        {
            "number": 3, "distance": None, "word": "", "at": minute(90), "late": None,
            "state:x": None, "recent:count_5m": 0.0, "recent:x_sum_5m": None,
            "trip:far": None, "trip:hour": 1.5, "trip:letters": 0.0,
        },
    ]  # fmt: skip
    assert made.rows == 3
    assert made.columns == rows.collect().columns


def test_features_come_in_the_order_of_the_references(room):
    made = build(room, "recent:x_sum_5m", "state:x", "recent:count_5m")
    assert [c for c in made.columns if ":" in c] == ["recent:x_sum_5m", "state:x", "recent:count_5m"]


def test_equal_rows_are_one_training_set_by_their_digest(room):
    first = build(room, *ALL)
    room.put(labels=labels_frame(LABELS[::-1]))
    again = build(room, *ALL)
    assert (again.version, again.digest, again.lake_table) == (1, first.digest, first.lake_table)
    assert len(list_versions(room.stores.metadata, "training_set")) == 1


def test_a_training_set_stays_as_it_was_when_its_data_change(room):
    first = build(room, *ALL)
    before = read_training_set(room.stores, "late", 1)[1].collect()
    room.put(rows=table([{**row, "x": -1.0} for row in ROWS], x=pl.Float64()), labels=labels_frame(LABELS[:2]))
    second = build(room, *ALL)
    assert (first.version, second.version) == (1, 2)
    assert first.lake_table != second.lake_table
    assert read_training_set(room.stores, "late", 1)[1].collect().equals(before)
    assert read_training_set(room.stores, "late", 2)[1].collect().height == 2


def test_a_training_set_names_the_versions_that_it_was_made_from(room):
    made = build(room, *ALL)
    sources = {edge.source for edge in upstream(room.stores.metadata, made.address)}
    assert {"dataset:labels@1", "feature_table:state@1", "feature_table:recent@1"} <= sources
    assert made.dataset[:2] == ["labels", 1]
    assert {name: version for name, (version, _) in made.tables.items()} == {"state": 1, "recent": 1}


def test_an_unknown_training_set_names_the_nearest(room):
    build(room, *ALL)
    with pytest.raises(NotFoundError, match=r"(?s)no training set 'lat'.*'late'"):
        read_training_set(room.stores, "lat", 1)
    with pytest.raises(NotFoundError, match=r"(?s)no training set version 'late@7'.*versions 1"):
        read_training_set(room.stores, "late", 7)


def test_features_that_need_no_store_alone_make_a_training_set(room):
    build(room, "alone", keep=("late",))
    assert read_training_set(room.stores, "late", 1)[1].collect()["alone:double"].to_list() == [4.0, 2.0, None]


def test_labels_without_a_time_are_counted_and_refused(room):
    room.put(labels=labels_frame([*LABELS, {**LABELS[0], "at": None}, {**LABELS[1], "at": None}]))
    with pytest.raises(DataError, match="2 labels of dataset 'labels' have no time in 'at'"):
        build(room, *ALL)


def test_labels_without_rows_are_refused(room):
    room.put(labels=labels_frame().clear())
    with pytest.raises(DataError, match="dataset 'labels' has no rows"):
        build(room, *ALL)


def test_labels_whose_time_is_no_time_are_refused(room):
    with pytest.raises(ColumnTypeMismatch, match="column 'word' of dataset 'labels' is string, and datetime"):
        build(room, *ALL, time="word")


def test_labels_whose_times_name_no_zone_are_refused(room):
    room.put(labels=labels_frame().with_columns(pl.col("at").dt.replace_time_zone(None)))
    with pytest.raises(TimeWithoutZone, match="'at' of dataset 'labels'"):
        build(room, *ALL)


@pytest.mark.parametrize(
    ("missing", "near"), [("at", "att"), ("number", "numbr"), ("distance", "distanc"), ("late", "laet")]
)
def test_a_column_that_the_labels_lack_is_named_with_the_nearest(room, missing, near):
    room.put(labels=labels_frame().rename({missing: near}))
    with pytest.raises(ColumnMissing, match=rf"(?s)dataset 'labels' has no column '{missing}'.*'{near}'"):
        build(room, *ALL)


@pytest.mark.parametrize(
    ("column", "found", "declared"),
    [("distance", "string", "float64"), ("word", "int64", "string"), ("number", "string", "int64")],
)
def test_a_column_of_the_labels_that_has_another_type_is_named(room, column, found, declared):
    dtype = pl.String() if found == "string" else pl.Int64()
    room.put(labels=labels_frame().with_columns(pl.lit(None, dtype=dtype).alias(column)))
    with pytest.raises(ColumnTypeMismatch, match=f"column '{column}' of dataset 'labels' is {found}, and {declared}"):
        build(room, *ALL)


def test_a_view_that_was_not_computed_is_named(room):
    room.ingest()
    with pytest.raises(
        DataError, match=r"(?s)feature view 'state' has not been computed.*carrara feature compute state"
    ):
        room.offline(labels_frame(), "state")
