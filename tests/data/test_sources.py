"""Sources as they are declared: types, null values, zones, and derived datasets after their inputs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import polars as pl
import pytest

from carrara.core.errors import (
    ColumnMissing,
    ColumnTypeMismatch,
    DataError,
    DefinitionCycle,
    NotFoundError,
    TimeWithoutZone,
)
from carrara.data.dataset import Dataset
from carrara.data.ingest import ingest_all
from carrara.data.storable import storable, storable_schema
from carrara.data.table_digest import digest_frame
from carrara.metadata import lineage
from carrara.metadata.runs import list_runs
from carrara.workspace.workspace import Workspace


@pytest.fixture
def rows_of(tmp_path):
    """The rows that a dataset reads from a file with this content."""

    def made(content: str | pl.DataFrame, **declared):
        path = tmp_path / ("t.csv" if isinstance(content, str) else "t.parquet")
        path.write_text(content) if isinstance(content, str) else content.write_parquet(path)
        dataset = Dataset("t", source=path.name, **declared)
        types = dataset.reading().types
        with dataset.read_from.open(tmp_path, dataset.reading()) as opened:
            schema = storable_schema(opened.schema, types, "dataset 't'")
            return pl.concat([storable(batch, schema, types, "dataset 't'") for batch in opened.batches])

    return made


@pytest.fixture
def write(tmp_path):
    """A workspace with these definitions and a source `a.csv`."""
    opened: list[Workspace] = []

    def made(definitions: str) -> Workspace:
        (tmp_path / "carrara.toml").write_text("")
        (tmp_path / "a.csv").write_text("n\n1\n2\n")
        (tmp_path / "definitions.py").write_text("import carrara\nimport narwhals as nw\n" + definitions)
        opened.append(Workspace(tmp_path))
        return opened[-1]

    yield made
    for workspace in opened:
        workspace.close()


def derived(name: str, *inputs: str, body: str = "") -> str:
    arguments = ", ".join(inputs)
    named = ", ".join(f'"{one}"' for one in inputs)
    return f"@carrara.dataset(inputs=({named},))\ndef {name}({arguments}):\n    {body or f'return {inputs[0]}'}\n"


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("int64", "7", 7),
        ("int32", "7", 7),
        ("float64", "7", 7.0),
        ("float32", "1.5", 1.5),
        ("string", "007", "007"),
        ("bool", "true", True),
        ("datetime", "2024-01-01T02:00:00+02:00", datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_declared_type_is_the_columns_type(rows_of, declared, text, value):
    frame = rows_of(f"x\n{text}\n", types={"x": declared})
    assert frame["x"].to_list() == [value]
    assert (
        frame.schema["x"]
        == {
            "int64": pl.Int64,
            "int32": pl.Int32,
            "float64": pl.Float64,
            "float32": pl.Float32,
            "string": pl.String,
            "bool": pl.Boolean,
            "datetime": pl.Datetime("us", "UTC"),
        }[declared]
    )


def test_only_the_declared_texts_are_null(rows_of):
    assert rows_of("x,y\nNA,a\n1,-\n", null_values=("NA", "-")).rows() == [(None, "a"), (1, None)]
    assert rows_of("x,y\nNA,a\n1,-\n", null_values=("-",)).rows() == [("NA", "a"), ("1", None)]


def test_nulls_stay_null_when_a_column_is_cast(rows_of):
    frame = rows_of(
        "at,n\nNA,1\n2024-01-01T00:00:00Z,NA\n", null_values=("NA",), types={"at": "datetime", "n": "int32"}
    )
    assert frame.rows() == [(None, 1), (datetime(2024, 1, 1, tzinfo=UTC), None)]


def test_times_of_any_unit_and_zone_become_utc_microseconds(rows_of):
    at = pl.Series("at", [datetime(2024, 7, 1, 12)]).dt.replace_time_zone("America/New_York").dt.cast_time_unit("ns")
    frame = rows_of(pl.DataFrame({"at": at, "day": [date(2024, 7, 1)]}), types={"at": "datetime"})
    assert frame.schema == {"at": pl.Datetime("us", "UTC"), "day": pl.Date}
    assert frame["at"].to_list() == [datetime(2024, 7, 1, 16, tzinfo=UTC)]


def test_a_declared_time_without_zone_is_refused_in_parquet_too(rows_of):
    with pytest.raises(TimeWithoutZone, match="'at' of dataset 't'"):
        rows_of(pl.DataFrame({"at": [datetime(2024, 1, 1)]}), types={"at": "datetime"})


def test_one_time_without_zone_among_many_is_enough(rows_of):
    with pytest.raises(TimeWithoutZone, match="'at'"):
        rows_of("at\n2024-01-01T00:00:00Z\n2024-01-01T00:00:00\n", types={"at": "datetime"})


def test_a_number_is_no_time(rows_of):
    with pytest.raises(ColumnTypeMismatch, match="column 'at' of dataset 't' is int64, and datetime was declared"):
        rows_of("at\n1704067200\n", types={"at": "datetime"})


def test_a_value_that_does_not_fit_its_type_is_shown(rows_of):
    with pytest.raises(ColumnTypeMismatch, match="9999999999"):
        rows_of("n\n1\n9999999999\n", types={"n": "int32"})


def test_a_declared_column_that_is_missing_names_the_nearest(rows_of):
    with pytest.raises(ColumnMissing, match=r"no column 'seen_at'\n  Did you mean 'seenat'"):
        rows_of("seenat,n\n2024-01-01T00:00:00Z,1\n", types={"seen_at": "datetime"})


def test_an_unknown_type_is_refused_when_it_is_declared():
    with pytest.raises(NotFoundError, match=r"column 'n' of dataset 't'\)\n  Did you mean 'float64'"):
        Dataset("t", source="t.csv", types={"n": "float6"})


def test_derived_datasets_come_after_their_inputs_however_they_are_written(write):
    workspace = write(
        derived("last", "middle", "a", body="return middle.with_columns(z=nw.lit(1))")
        + derived("middle", "a", body='return a.filter(nw.col("n") > 1)')
        + 'a = carrara.Dataset("a", source="a.csv")\n'
    )
    assert [one.version.name for one in workspace.datasets.ingest()] == ["a", "middle", "last"]
    assert workspace.datasets.read("last").collect().rows() == [(2, 1)]


def test_a_derived_version_has_its_inputs_in_its_lineage(write):
    workspace = write('a = carrara.Dataset("a", source="a.csv")\n' + derived("b", "a") + derived("c", "b"))
    workspace.datasets.ingest()
    edges = [(e.source.split("#")[0], e.target) for e in lineage.upstream(workspace.stores.metadata, "dataset:c@1")]
    assert edges == [("dataset:b@1", "dataset:c@1"), ("dataset:a@1", "dataset:b@1"), ("file:a.csv", "dataset:a@1")]


def test_a_change_of_the_function_makes_a_version_and_a_comment_does_not(write):
    source = 'a = carrara.Dataset("a", source="a.csv")\n'
    body = 'return a.filter(nw.col("n") > 1)'
    write(source + derived("b", "a", body=body)).datasets.ingest()
    commented = write(source + derived("b", "a", body="# why\n    " + body)).datasets.ingest()
    changed = write(source + derived("b", "a", body=body.replace("> 1", "> 0"))).datasets.ingest()
    assert [one.reused for one in commented] == [True, True]
    assert [(one.version.version, one.reused) for one in changed] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    ("definitions", "circle"),
    [
        (derived("b", "c") + derived("c", "d") + derived("d", "b"), {"b", "c", "d"}),
        (derived("b", "b"), {"b"}),
    ],
    ids=["three", "itself"],
)
def test_datasets_in_a_circle_are_named_and_nothing_is_ingested(write, definitions, circle):
    workspace = write('a = carrara.Dataset("a", source="a.csv")\n' + definitions)
    with pytest.raises(DefinitionCycle) as raised:
        list(ingest_all(workspace.stores, workspace.definitions))
    assert workspace.datasets.versions() == []
    path = raised.value.path
    assert set(path) == circle
    assert path[0] == path[-1]
    assert len(path) == len(circle) + 1
    assert " → ".join(path) in str(raised.value)


def test_an_input_that_is_not_declared_names_the_nearest_and_who_asked(write):
    workspace = write('flights = carrara.Dataset("flights", source="a.csv")\n' + derived("b", "flihgts"))
    with pytest.raises(NotFoundError, match=r"'flihgts' \(asked by dataset 'b'\)\n  Did you mean 'flights'"):
        list(ingest_all(workspace.stores, workspace.definitions))


def test_a_function_that_fails_leaves_a_failed_run_and_the_last_version(write):
    source = 'a = carrara.Dataset("a", source="a.csv")\n'
    write(source + derived("b", "a")).datasets.ingest()
    workspace = write(source + derived("b", "a", body="raise ValueError('broken')"))
    with pytest.raises(DataError, match="the function of dataset 'b' failed: ValueError: broken"):
        workspace.datasets.ingest()
    newest = list_runs(workspace.stores.metadata)[0]
    assert (newest.kind, newest.name, newest.state) == ("ingest", "b", "failed")
    assert [v.version for v in workspace.datasets.versions("b")] == [1]
    assert workspace.datasets.read("b").collect()["n"].to_list() == [1, 2]


def test_another_process_finds_the_same_digest_of_the_same_table():
    code = (
        "import polars as pl\nfrom datetime import UTC, datetime\nfrom carrara.data.table_digest import digest_frame\n"
        "part = [pl.DataFrame({'i': [n, None], 'f': [n / 3, float('nan')], 's': ['é', None], 'b': [True, None],"
        " 'at': [datetime(2024, 1, 1 + n, tzinfo=UTC), None]}) for n in range(3)]\n"
        "print(digest_frame(pl.concat(part, rechunk=False)), digest_frame(pl.concat(part[::-1]).rechunk()))\n"
    )
    found: set[str] = set()
    for seed, threads in (("0", "1"), ("7", "2")):
        env = {"PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads}
        command = [sys.executable, "-c", code]
        found.update(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": [0, 1]}, {"x": [None, 1]}),
        ({"x": ["", "a"]}, {"x": [None, "a"]}),
        ({"x": [1, 2], "y": [2, 1]}, {"x": [1, 2], "y": [1, 2]}),
        ({"x": [1, 1, 2]}, {"x": [1, 2, 2]}),
        ({"x": [1]}, {"y": [1]}),
        ({"x": [1]}, {"x": [1.0]}),
        ({"x": ["ab"], "y": ["c"]}, {"x": ["a"], "y": ["bc"]}),
    ],
)
def test_different_tables_have_different_digests(one, other):
    assert digest_frame(pl.DataFrame(one)) != digest_frame(pl.DataFrame(other))
