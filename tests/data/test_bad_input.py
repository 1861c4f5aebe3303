"""Bad values in good files: told with the file, the line and the column, and never half of a version."""

from __future__ import annotations

import pytest

from carrara.core.errors import ColumnTypeMismatch, TimeWithoutZone
from carrara.workspace.workspace import Workspace


@pytest.fixture
def ingest(tmp_path):
    """Ingests a CSV of this text into `t`; whatever happens, versions are whole."""
    (tmp_path / "carrara.toml").write_text("")
    with Workspace(tmp_path) as workspace:

        def made(content: str, **declared):
            (tmp_path / "t.csv").write_text(content)
            return workspace.datasets.ingest_from("t", "t.csv", **declared).version

        yield made
        for version in workspace.datasets.versions():
            assert workspace.datasets.read("t", version.version).collect().height == version.rows


@pytest.mark.parametrize(
    ("content", "types", "says"),
    [
        (
            "at\n2024-01-01T00:00:00Z\n2024-13-45T00:00:00Z\n",
            {"at": "datetime"},
            "'2024-13-45T00:00:00Z' is no datetime",
        ),
        ("at\n2024-01-01T00:00:00Z\n999999-01-01T00:00:00Z\n", {"at": "datetime"}, "is no datetime"),
        ("day\n2024-01-01\n2024-02-31\n", {"day": "date"}, "'2024-02-31' is no date"),
        ("n\n1\nmany\n", {"n": "int64"}, "'many' is no int64"),
        ("n\n1\n300000000000\n", {"n": "int32"}, "300000000000 is no int32"),
    ],
)
def test_a_value_that_does_not_fit_its_declared_type_is_shown_with_its_line(ingest, content, types, says):
    with pytest.raises(ColumnTypeMismatch) as raised:
        ingest(content, types=types)
    assert says in str(raised.value)
    assert "t.csv, line 3" in str(raised.value)
    assert raised.value.column == next(iter(types))


def test_times_of_several_zones_become_utc_and_one_without_is_refused(ingest):
    found = ingest("at\n2024-01-01T00:00:00Z\n2024-01-01T00:00:00+05:30\n", types={"at": "datetime"})
    assert found.statistics["at"]["min"] == "2023-12-31T18:30:00+00:00"
    with pytest.raises(TimeWithoutZone):
        ingest("at\n2024-01-01T00:00:00Z\n2024-01-01T00:00:00\n", types={"at": "datetime"})


def test_columns_of_nothing_and_of_nan_and_infinities_are_counted(ingest):
    found = ingest("a,x\n,inf\n,-inf\n,NaN\n,1.5\n").statistics
    assert (found["a"]["nulls"], found["a"]["distinct"]) == (4, 0)
    assert (found["x"]["infinite"], found["x"]["nan"], found["x"]["mean"]) == (2, 1, 1.5)


def test_a_header_alone_is_a_table_without_rows(ingest):
    assert ingest("a,b\n").rows == 0


def test_five_thousand_columns_go_through(ingest):
    names = [f"column {n}" for n in range(5_000)]
    found = ingest(",".join(names) + "\n" + (",".join(["1"] * 5_000) + "\n") * 20)
    assert (found.rows, len(found.statistics)) == (20, 5_000)
