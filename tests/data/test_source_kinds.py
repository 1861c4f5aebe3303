"""Every kind of source, held to the same cases: the rows, their types, and what cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from carrara.core.errors import ConfigurationError, DataError, MalformedFile
from carrara.data.dataset import Dataset
from carrara.data.sources.duckdb import DuckDB
from carrara.data.sources.frames import Frame
from carrara.data.sources.sql import Sql
from carrara.data.storable import storable, storable_schema
from carrara.workspace.workspace import Workspace

ROWS = pl.DataFrame(
    {
        "id": [1, 2, 3],
        "amount": [1.5, None, -0.25],
        "name": ["a", None, 'ä, "b"\nc'],
        "paid": [True, False, None],
    }
)


def csv(folder: Path) -> str:
    ROWS.write_csv(folder / "t.csv")
    return "t.csv"


def csv_gz(folder: Path) -> str:
    (folder / "t.csv.gz").write_bytes(gzip.compress(ROWS.write_csv().encode()))
    return "t.csv.gz"


def csv_zip(folder: Path) -> str:
    with zipfile.ZipFile(folder / "t.csv.zip", "w") as archive:
        archive.writestr("t.csv", ROWS.write_csv())
    return "t.csv.zip"


def tsv(folder: Path) -> str:
    ROWS.write_csv(folder / "t.tsv", separator="\t")
    return "t.tsv"


def parquet(folder: Path) -> str:
    ROWS.write_parquet(folder / "t.parquet")
    return "t.parquet"


def pattern(folder: Path) -> str:
    ROWS[:2].write_parquet(folder / "t-1.parquet")
    ROWS[2:].write_parquet(folder / "t-2.parquet")
    return "t-*.parquet"


def jsonl(folder: Path) -> str:
    ROWS.write_ndjson(folder / "t.jsonl")
    return "t.jsonl"


def arrow(folder: Path) -> str:
    ROWS.write_ipc(folder / "t.arrow")
    return "t.arrow"


def delta(folder: Path) -> str:
    deltalake.write_deltalake(str(folder / "t"), ROWS)
    return "t"


def sql(folder: Path) -> Sql:
    with sqlite3.connect(folder / "t.db") as connection:
        connection.execute("create table t (id integer, amount real, name text, paid boolean)")
        connection.executemany("insert into t values (?, ?, ?, ?)", ROWS.rows())
    return Sql("sqlite:///t.db", "select id, amount, name, paid from t order by id")


def duck(folder: Path) -> DuckDB:
    ROWS.write_parquet(folder / "t.parquet")
    return DuckDB("select * from 't.parquet'")


def duck_database(folder: Path) -> DuckDB:
    ROWS.write_parquet(folder / "t.parquet")
    with duckdb.connect(str(folder / "t.duckdb")) as connection:
        connection.execute(f"create table t as select * from '{folder}/t.parquet'")
    return DuckDB("select * from t", database="t.duckdb")


def arrow_stream(folder: Path) -> Frame:
    class Stream:
        """All that many libraries' tables have in common."""

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return ROWS.__arrow_c_stream__(requested_schema)

    return Frame(Stream())


SOURCES: list[Callable[[Path], Any]] = [
    *(csv, csv_gz, csv_zip, tsv, parquet, pattern, jsonl, arrow, delta, sql, duck, duck_database, arrow_stream),
    lambda folder: Frame(ROWS),
    lambda folder: Frame(ROWS.lazy()),
    lambda folder: Frame(ROWS.to_dict(as_series=False)),
    lambda folder: Frame(pd.DataFrame(ROWS.to_dict(as_series=False)).astype({"paid": "boolean", "name": "object"})),
]
NAMES = [getattr(source, "__name__", "") for source in SOURCES[:13]] + ["polars", "lazy", "columns", "pandas"]


def rows_of(source: Any, folder: Path, **declared: Any) -> pl.DataFrame:
    dataset = Dataset("t", source=source, **declared)
    types = dataset.reading().types
    with dataset.read_from.open(folder, dataset.reading()) as opened:
        schema = storable_schema(opened.schema, types, "dataset 't'")
        return pl.concat([storable(batch, schema, types, "dataset 't'") for batch in opened.batches])


@pytest.mark.parametrize("make", SOURCES, ids=NAMES)
def test_every_source_gives_the_same_rows(make, tmp_path):
    found = rows_of(make(tmp_path), tmp_path, types={"paid": "bool"} if make is sql else {})
    assert_frame_equal(found, ROWS)


@pytest.mark.parametrize("make", SOURCES, ids=NAMES)
def test_every_source_makes_a_version_once(make, tmp_path):
    (tmp_path / "carrara.toml").write_text("")
    source = make(tmp_path)
    with Workspace(tmp_path) as workspace:
        dataset = source if isinstance(source, str | Sql | DuckDB) else source.frame
        assert not workspace.datasets.ingest_from("t", dataset).reused
        assert workspace.datasets.ingest_from("t", dataset).reused
        assert workspace.datasets.read("t").collect().height == 3


@pytest.mark.parametrize("make", [csv, parquet, pattern, jsonl, arrow], ids=lambda make: make.__name__)
def test_a_fingerprint_changes_with_the_bytes(make, tmp_path):
    source = Dataset("t", source=make(tmp_path)).read_from
    before = source.fingerprint(tmp_path)
    assert source.fingerprint(tmp_path) == before
    path = next(path for path in tmp_path.iterdir() if path.is_file())
    path.write_bytes(path.read_bytes() + b" ")
    assert source.fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.parquet", b"no parquet", "t.parquet"),
        ("t.arrow", b"no arrow", "t.arrow"),
        ("t.csv.gz", b"no gzip", "t.csv.gz"),
        ("t.csv.zip", b"no zip", "t.csv.zip"),
        ("t.xlsx", b"", "no known format"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        rows_of(name, tmp_path)


def test_a_line_of_json_that_is_broken_is_told(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 2\n')
    with pytest.raises(MalformedFile, match="line 2"):
        rows_of("t.jsonl", tmp_path)


def test_a_column_of_json_that_comes_late_is_read(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n' * 2_000 + '{"a": 2.5, "b": [1]}\n')
    found = rows_of("t.jsonl", tmp_path)
    assert found.row(-1) == (2.5, [1])
    assert found["b"].null_count() == 2_000


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / csv(tmp_path)
    dataset = Dataset("t", source="t.csv")

    def read_while_it_is_written() -> None:
        with dataset.read_from.open(tmp_path, dataset.reading()) as opened:
            next(opened.batches)
            path.write_text("id\n9\n")

    with pytest.raises(DataError, match=r"t\.csv changed while it was read"):
        read_while_it_is_written()


def test_types_that_no_table_can_hold_become_ones_that_it_can(tmp_path):
    frame = pl.DataFrame(
        {
            "small": pl.Series([200], dtype=pl.UInt8),
            "category": pl.Series(["x"], dtype=pl.Categorical()),
            "nothing": [None],
            "at": [datetime(2024, 1, 1, tzinfo=UTC)],
        }
    ).with_columns(pl.col("at").dt.cast_time_unit("ns"), lasted=pl.duration(seconds=2))
    found = rows_of(Frame(frame), tmp_path)
    assert found.row(0) == (200, "x", None, datetime(2024, 1, 1, tzinfo=UTC), 2_000_000)
    assert found["nothing"].dtype == pl.String
    with pytest.raises(DataError, match="'n'"):
        rows_of(Frame(pl.DataFrame({"n": [2**70]}, schema={"n": pl.Int128()})), tmp_path)
    with pytest.raises(DataError, match=str(2**64 - 1)):
        rows_of(Frame(pl.DataFrame({"n": [2**64 - 1]}, schema={"n": pl.UInt64()})), tmp_path)


def test_a_query_that_fails_is_told_with_its_dataset(tmp_path):
    sql(tmp_path)
    with pytest.raises(DataError, match="query of dataset 't' failed: no such table: nope"):
        rows_of(Sql("sqlite:///t.db", "select * from nope"), tmp_path)
    with pytest.raises(DataError, match="no SQLite database"):
        rows_of(Sql("sqlite:///none.db", "select 1"), tmp_path)
    with pytest.raises(DataError, match="query of dataset 't' failed"):
        rows_of(DuckDB("select * from nope"), tmp_path)


def test_a_password_comes_from_the_environment_and_never_gets_into_a_record(monkeypatch):
    assert "secret" not in str(Sql("postgresql://me:secret@db/x", "select 1").describe())
    kept = Sql("sqlite:///${NOT_SET}.db", "select 1")
    assert kept.describe()["url"] == "sqlite:///${NOT_SET}.db"
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigurationError, match="NOT_SET"):
        rows_of(kept, Path())


def test_a_query_whose_first_rows_are_null_has_the_type_of_the_later_ones(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("create table t (n integer, s text)")
        connection.executemany("insert into t values (?, ?)", [(n, None) for n in range(60_000)] + [(1, "late")])
    found = rows_of(Sql("sqlite:///t.db", "select * from t"), tmp_path)
    assert (found.height, found["s"].dtype, found["s"][-1]) == (60_001, pl.String, "late")


def test_a_missing_library_names_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(Exception, match=r"carrara\[duckdb\]"):
        rows_of(DuckDB("select 1"), tmp_path)


@pytest.fixture(scope="module")
def bucket():
    """An S3 that runs here, and a bucket in it."""
    from moto.server import ThreadedMotoServer

    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    before = {name: os.environ.get(name) for name in (*keys, "AWS_ENDPOINT_URL")}
    os.environ.update(keys, AWS_ENDPOINT_URL=f"http://{host}:{port}")
    import s3fs

    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("bucket")
    yield filesystem
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_rows_at_an_s3_address_are_read_and_unchanged_ones_are_not_read_again(bucket, tmp_path):
    (tmp_path / "carrara.toml").write_text("")
    for name, part in (("1", ROWS[:2]), ("2", ROWS[2:])):
        data = io.BytesIO()
        part.write_parquet(data)
        bucket.pipe(f"bucket/orders/{name}.parquet", data.getvalue())
    with Workspace(tmp_path) as workspace:
        address = "s3://bucket/orders/*.parquet"
        assert_frame_equal(rows_of(address, tmp_path), ROWS)
        assert not workspace.datasets.ingest_from("orders", address).reused
        assert workspace.datasets.ingest_from("orders", address).reused
        bucket.pipe("bucket/orders/3.csv", b"")
        assert workspace.datasets.ingest_from("orders", address).reused
        with pytest.raises(DataError, match="nothing at s3://bucket/none"):
            workspace.datasets.ingest_from("none", "s3://bucket/none/*.parquet")
        with pytest.raises(DataError, match=r"s3://bucket/none\.csv"):
            workspace.datasets.ingest_from("none", "s3://bucket/none.csv")
