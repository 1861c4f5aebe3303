"""Ingest: sources of every kind, versions that only change makes, and a schema that stops what does not fit."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import CheckFailed, ColumnMissing, ColumnTypeMismatch, DataError, TimeWithoutZone
from carrara.data.column_statistics import column_statistics
from carrara.workspace.workspace import Workspace

CSV = "name,n,at\na,1,2024-01-01T00:00:00Z\nb,NA,2024-01-01T02:00:00+01:00\n"
DATASET = 'import carrara\nt = carrara.Dataset("t", source="{file}", types={types}, null_values=("NA",))\n'
TYPES = {"at": "datetime"}


@pytest.fixture
def make(tmp_path):
    """Writes a workspace with one dataset `t` and opens it."""
    (tmp_path / "carrara.toml").write_text("")
    opened: list[Workspace] = []

    def made(file: str, content: bytes | None, types: dict[str, str] = TYPES, more: str = "") -> Workspace:
        if content is not None:
            (tmp_path / file).write_bytes(content)
        (tmp_path / "definitions.py").write_text(DATASET.format(file=file, types=types) + more)
        opened.append(Workspace(tmp_path))
        return opened[-1]

    yield made
    for workspace in opened:
        workspace.close()


def zipped(text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("t.csv", text)
    return data.getvalue()


@pytest.mark.parametrize(
    ("file", "content"),
    [("t.csv", CSV.encode()), ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)), ("t.csv.zip", zipped(CSV))],
    ids=["plain", "gzip", "zip"],
)
def test_a_csv_in_any_wrapping_gives_the_same_version(make, file, content):
    workspace = make(file, content)
    (one,) = workspace.datasets.ingest()
    rows = workspace.datasets.read("t").collect()
    assert rows["n"].to_list() == [1, None]
    assert [f"{at:%H:%M}" for at in rows["at"]] == ["00:00", "01:00"]
    assert one.version.statistics["n"]["nulls"] == 1


def test_the_same_rows_from_another_file_make_no_version(make, tmp_path):
    first = make("t.csv", CSV.encode()).datasets.ingest()[0].version
    frame = make("t.csv", CSV.encode()).datasets.read("t").collect()
    frame.write_parquet(tmp_path / "t.parquet")
    (second,) = make("t.parquet", None).datasets.ingest()
    assert second.reused
    assert second.version == first


def test_an_unchanged_source_makes_no_version_and_a_changed_one_does(make, tmp_path):
    workspace = make("t.csv", CSV.encode())
    assert [workspace.datasets.ingest()[0].reused for _ in range(2)] == [False, True]
    (tmp_path / "t.csv").write_text(CSV + "c,3,2024-01-02T00:00:00Z\n")
    assert not workspace.datasets.ingest()[0].reused
    assert [v.rows for v in workspace.datasets.versions("t")] == [2, 3]
    assert workspace.datasets.read("t", 1).collect().height == 2


@pytest.mark.parametrize(
    ("content", "types", "error", "says"),
    [
        (b"name,at\na,2024-01-01T00:00:00\n", TYPES, TimeWithoutZone, "'at'"),
        (b"name,att\na,2024-01-01T00:00:00Z\n", TYPES, ColumnMissing, "'att'"),
        (b"name,n\na,x\n", {"n": "int64"}, ColumnTypeMismatch, "'n'"),
        (b"a,b\n1,2,3\n", {}, DataError, "t.csv"),
        (b"", {}, DataError, "t.csv"),
        (None, {}, DataError, "t.csv"),
    ],
)
def test_a_source_that_cannot_be_read_is_named_and_makes_no_version(make, content, types, error, says):
    workspace = make("t.csv", content, types)
    with pytest.raises(error, match=says):
        workspace.datasets.ingest()
    assert workspace.datasets.versions() == []


def test_a_package_that_is_not_installed_is_named(make):
    with pytest.raises(DataError, match="no_such_package"):
        make("package:no_such_package/t.csv", None).datasets.ingest()


def test_a_missing_column_stops_and_the_last_good_version_stays(make, tmp_path):
    workspace = make("t.csv", CSV.encode())
    workspace.datasets.ingest()
    (tmp_path / "t.csv").write_text("name,at\na,2024-01-01T00:00:00Z\n")
    with pytest.raises(CheckFailed, match="column 'n' is missing") as raised:
        workspace.datasets.ingest()
    assert raised.value.exit_code == 3
    assert [v.version for v in workspace.datasets.versions("t")] == [1]
    accepted = workspace.datasets.ingest("t", accept_schema=True)[0].version
    assert (accepted.version, list(accepted.schema["columns"])) == (2, ["name", "at"])


def test_a_new_category_warns_and_does_not_stop(make, tmp_path):
    rows = CSV + CSV.partition("\n")[2] * 5
    workspace = make("t.csv", rows.encode())
    workspace.datasets.ingest()
    (tmp_path / "t.csv").write_text(rows + "z,3,2024-01-02T00:00:00Z\n")
    (anomaly,) = workspace.datasets.ingest()[0].version.anomalies
    assert (anomaly["kind"], anomaly["severity"], anomaly["column"]) == ("new categories", "warn", "name")
    assert "z" in anomaly["message"]


def test_a_derived_dataset_follows_its_inputs(make, tmp_path):
    body = 'import narwhals as nw\n\n    return t.with_columns(m=nw.col("n") * 2)'
    more = f'@carrara.dataset(inputs=("t",))\ndef d(t):\n    {body}\n'
    workspace = make("t.csv", CSV.encode(), more=more)
    assert [one.version.name for one in workspace.datasets.ingest()] == ["t", "d"]
    assert workspace.datasets.read("d").collect()["m"].to_list() == [2, None]
    (tmp_path / "t.csv").write_text(CSV.replace(",1,", ",5,"))
    assert [one.reused for one in workspace.datasets.ingest("d")] == [False, False]
    assert workspace.datasets.read("d").collect()["m"].to_list() == [10, None]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return t.select('nam')", "dataset 'd' failed"),
        ("raise ValueError('no')", "ValueError: no"),
        ("return 5", "returned int"),
        ("return t.with_columns(at=t.collect()['at'].dt.replace_time_zone(None).to_native())", "dataset 'd'"),
    ],
)
def test_a_function_that_fails_is_named_with_its_dataset(make, body, says):
    more = f'@carrara.dataset(inputs=("t",))\ndef d(t):\n    {body}\n'
    workspace = make("t.csv", CSV.encode(), more=more)
    with pytest.raises(DataError, match=says):
        workspace.datasets.ingest()
    assert [v.name for v in workspace.datasets.versions()] == ["t"]


def test_statistics_are_those_of_numpy():
    random = np.random.default_rng(0)
    values = random.normal(3, 2, 5_000)
    values[:50] = 0
    frame = pl.DataFrame({"x": [None, float("nan"), float("inf"), *values], "s": ["a", None, "b", *["a"] * 5_000]})
    found = column_statistics(frame)
    x = found["x"]
    assert (x["rows"], x["nulls"], x["zeros"]) == (5_003, 1, 50)
    assert x["mean"] == pytest.approx(values.mean())
    assert x["std"] == pytest.approx(values.std())
    assert x["quantiles"] == pytest.approx(np.quantile(values, np.linspace(0, 1, 11)).tolist(), abs=2e-3)
    assert sum(x["histogram"]["counts"]) == 5_000
    assert [(t["value"], t["rows"]) for t in found["s"]["top"]] == [("a", 5_001), ("b", 1)]
