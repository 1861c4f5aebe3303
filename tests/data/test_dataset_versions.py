"""Versions: what each mode does to the rows that are there, what stops one, and what a crash leaves."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime

import polars as pl
import pytest

from carrara.core.errors import (
    CarraraError,
    CheckFailed,
    DataError,
    DefinitionError,
    NotFoundError,
    Overtaken,
    StorageError,
)
from carrara.data.dataset import Dataset
from carrara.data.splits import HashSplit, StratifiedSplit
from carrara.data.statistics import profile
from carrara.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "carrara.toml").write_text("")
    with Workspace(tmp_path) as opened:
        yield opened


def rows(*pairs: tuple[int, str]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"id": pl.Int64(), "name": pl.String()}, orient="row")


def names(workspace: Workspace, **which) -> list[str]:
    return workspace.datasets.read("t", **which).collect().sort("id")["name"].to_list()


def test_appended_rows_join_those_that_are_there(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a"), (2, "b")), mode="append")
    made = take("t", rows((3, "c")), mode="append").version
    assert (made.version, made.rows, made.added) == (2, 3, 1)
    assert names(workspace) == ["a", "b", "c"]
    assert names(workspace, version=1) == ["a", "b"]
    assert take("t", rows((3, "c")), mode="append").reused
    stored = workspace.datasets.statistics("t").summary()
    assert stored == profile(workspace.datasets.read("t").collect()).summary()


def test_an_append_has_the_digest_of_all_its_rows(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")), mode="append")
    appended = take("t", rows((2, "b")), mode="append").version
    whole = take("u", rows((2, "b"), (1, "a"))).version
    assert appended.digest == whole.digest


def test_upserted_rows_take_the_place_of_those_with_their_key(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a"), (2, "b")), mode="upsert", key=["id"])
    made = take("t", rows((2, "B"), (3, "c")), mode="upsert", key=["id"]).version
    assert (made.rows, made.added) == (3, 2)
    assert names(workspace) == ["a", "B", "c"]
    assert names(workspace, version=1) == ["a", "b"]
    stored = workspace.datasets.statistics("t").summary()
    assert stored == profile(workspace.datasets.read("t").collect()).summary()


def test_rows_that_share_a_key_are_refused_at_the_first_ingest_and_later(workspace):
    take = workspace.datasets.ingest_from
    with pytest.raises(CheckFailed, match="repeat the key id"):
        take("t", rows((1, "a"), (1, "b")), mode="upsert", key=["id"])
    assert workspace.datasets.versions() == []
    take("t", rows((1, "a")), mode="upsert", key=["id"])
    with pytest.raises(CheckFailed, match="1 rows repeat the id"):
        take("t", rows((2, "a"), (2, "b")), mode="upsert", key=["id"])
    assert names(workspace) == ["a"]
    with pytest.raises(DefinitionError, match="without a key"):
        Dataset("t", source="t.csv", mode="upsert")
    with pytest.raises(NotFoundError, match="apend"):
        Dataset("t", source="t.csv", mode="apend")


def test_a_time_finds_the_version_that_was_the_newest(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")))
    between = datetime.now(UTC)
    time.sleep(0.001)
    take("t", rows((1, "b")))
    assert names(workspace, as_of=between) == ["a"]
    assert names(workspace, as_of=datetime.now(UTC)) == ["b"]
    with pytest.raises(NotFoundError, match="as of 2020"):
        workspace.datasets.read("t", as_of=datetime(2020, 1, 1, tzinfo=UTC))


def test_a_refused_append_changes_nothing_and_the_next_one_goes_on(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")), mode="append")
    with pytest.raises(CheckFailed):
        take("t", rows((2, "b")).with_columns(id=pl.lit("x")), mode="append")
    take("t", rows((2, "b")), mode="append")
    assert names(workspace) == ["a", "b"]


def test_a_commit_that_was_never_recorded_is_not_appended_to(workspace):
    """P4: a crash between the lake's commit and the record, and then the same rows again."""
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")), mode="append")
    workspace.stores.lake.write("datasets/t", rows((2, "lost")), mode="append")
    take("t", rows((2, "b")), mode="append")
    assert names(workspace) == ["a", "b"]


def test_an_append_that_was_overtaken_is_refused_and_loses_nothing(workspace, tmp_path):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")), mode="append")

    def meanwhile(frame: pl.DataFrame) -> pl.DataFrame:
        with Workspace(tmp_path) as other:
            other.datasets.ingest_from("t", rows((2, "b")), mode="append")
        return frame

    with pytest.raises(Overtaken, match="'t' got version 2 from another writer"):
        take("t", rows((3, "c")).lazy().map_batches(meanwhile), mode="append")
    assert names(workspace) == ["a", "b"]
    take("t", rows((3, "c")), mode="append")
    assert names(workspace) == ["a", "b", "c"]


def test_a_new_column_of_an_append_is_null_in_the_rows_before(workspace):
    take = workspace.datasets.ingest_from
    take("t", rows((1, "a")), mode="append")
    made = take("t", rows((2, "b")).with_columns(more=1.5), mode="append").version
    assert [a["kind"] for a in made.anomalies] == ["unexpected column"]
    assert workspace.datasets.read("t").collect().sort("id")["more"].to_list() == [None, 1.5]
    assert made.statistics["more"]["nulls"] == 1


def test_a_pattern_that_is_appended_takes_each_file_once(workspace, tmp_path):
    rows((1, "a")).write_csv(tmp_path / "day-1.csv")
    rows((2, "b")).write_csv(tmp_path / "day-2.csv")
    take = workspace.datasets.ingest_from
    assert take("t", "day-*.csv", mode="append").version.rows == 2
    assert take("t", "day-*.csv", mode="append").reused
    rows((3, "c")).write_csv(tmp_path / "day-3.csv")
    made = take("t", "day-*.csv", mode="append").version
    assert (made.added, names(workspace)) == (1, ["a", "b", "c"])
    rows((1, "other")).write_csv(tmp_path / "day-1.csv")
    with pytest.raises(DataError, match=r"day-1\.csv was appended before, and has changed"):
        take("t", "day-*.csv", mode="append")


SCHEMA = """
[columns.id]
type = "int64"
min = 0
severity = {"out of range" = "SEVERITY"}
[columns.name]
type = "string"
"""


@pytest.fixture
def held(workspace, tmp_path):
    """Writes a schema for `t` that holds ids against 0 with a severity."""

    def write(severity: str) -> None:
        (tmp_path / "schemas").mkdir(exist_ok=True)
        (tmp_path / "schemas" / "t.toml").write_text(SCHEMA.replace("SEVERITY", severity))

    return write


def test_quarantined_rows_are_set_aside_with_the_reason_and_the_rest_goes_in(workspace, held):
    held("quarantine")
    made = workspace.datasets.ingest_from("t", rows((1, "a"), (-1, "bad"), (2, "b"))).version
    assert (made.rows, made.quarantined) == (2, 1)
    assert names(workspace) == ["a", "b"]
    assert workspace.datasets.quarantine("t").rows() == [(-1, "bad", "id: out of range")]
    assert made.statistics["id"]["min"] == 1
    assert [a["severity"] for a in made.anomalies] == ["quarantine"]


def test_rows_that_stop_an_ingest_can_be_looked_at_and_the_last_good_version_stays(workspace, held):
    workspace.datasets.ingest_from("t", rows((1, "a")))
    held("stop")
    with pytest.raises(CheckFailed, match="'id' is outside of 0 to any: -1") as raised:
        workspace.datasets.ingest_from("t", rows((1, "a"), (-1, "bad")))
    assert raised.value.exit_code == 3
    assert names(workspace) == ["a"]
    assert workspace.datasets.quarantine("t")["name"].to_list() == ["bad"]
    held("warn")
    assert workspace.datasets.ingest_from("t", rows((1, "a"), (-1, "bad"))).version.version == 2


def test_a_dataset_of_which_nothing_was_set_aside_says_so(workspace):
    workspace.datasets.ingest_from("t", rows((1, "a")))
    with pytest.raises(NotFoundError, match="quarantine"):
        workspace.datasets.quarantine("t")


def test_a_file_can_be_held_against_the_schema_before_it_goes_in(workspace, tmp_path):
    workspace.datasets.ingest_from("t", rows((1, "a")))
    rows((2, "b")).with_columns(name=pl.lit(3)).write_parquet(tmp_path / "next.parquet")
    assert [a.kind for a in workspace.datasets.validate("t", data="next.parquet")] == ["type change"]
    assert workspace.datasets.validate("t", data=rows((2, "b"))) == []
    assert len(workspace.datasets.versions("t")) == 1


def test_a_schema_is_inferred_once_and_then_changed_by_proposals_only(workspace, tmp_path):
    datasets = workspace.datasets
    datasets.ingest_from("t", rows(*((n, "ab"[n % 2]) for n in range(200))))
    path = datasets.infer_schema("t")
    path.write_text(path.read_text().replace("[columns.name]", "# What they are called.\n[columns.name]"))
    with pytest.raises(CarraraError, match="is there already"):
        datasets.infer_schema("t")
    later = rows(*((n, "abc"[n % 3]) for n in range(200)))
    after, changes = datasets.propose_schema("t", data=later)
    assert '+categories = ["a", "b", "c"]' in changes
    assert datasets.update_schema("t", data=later)[0].read_text() == after
    assert "# What they are called." in after
    assert datasets.validate("t", data=later) == []


def test_what_changed_between_two_versions_is_told_by_column_and_by_row(workspace):
    take = workspace.datasets.ingest_from
    before = pl.DataFrame({"id": range(1_000), "x": [float(n) for n in range(1_000)], "gone": ["g"] * 1_000})
    take("t", before)
    after = before.drop("gone").with_columns(x=pl.when(pl.col("id") % 100 == 3).then(-1.0).otherwise("x"), new=True)
    take(
        "t",
        after.filter(pl.col("id") != 5).vstack(after.head(1).with_columns(id=pl.lit(5_000, pl.Int64))),
        accept_schema=True,
    )
    found = workspace.datasets.diff("t", key=["id"])
    changes = {column.column: column.change for column in found.columns}
    assert (changes["gone"], changes["new"]) == ("removed", "added")
    assert (found.rows.added, found.rows.removed, found.rows.changed, found.rows.same) == (1, 1, 10, 989)
    assert found.rows.changed_by_column == {"x": 10}
    assert {"key": {"id": 3}, "changed": {"x": [3.0, -1.0]}} in found.rows.samples
    with pytest.raises(CarraraError, match="the key new"):
        workspace.datasets.diff("t", before=2, after=2, key=["new"])


def test_a_disk_that_fills_up_leaves_the_last_good_version(workspace, tmp_path):
    """F5: no file may grow past a megabyte, as if the disk ended there."""
    workspace.datasets.ingest_from("t", rows((1, "a")))
    code = (
        "import resource, signal, sys\nimport numpy as np, polars as pl\n"
        "from carrara import Workspace\nfrom carrara.core.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "workspace = Workspace(sys.argv[1])\nworkspace.datasets.versions()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "noise = np.random.default_rng(0).integers(0, 2**62, 400_000)\n"
        "try:\n    workspace.datasets.ingest_from('t', pl.DataFrame({'id': noise, 'name': 'x'}))\n"
        "except StorageError as error:\n    print('told:', error.message[:40])\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert "told: table 'datasets/t'" in done.stdout, done.stderr[-2_000:]
    assert names(workspace) == ["a"]
    workspace.datasets.ingest_from("t", rows((1, "b")))
    assert names(workspace) == ["b"]


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6])
def test_an_ingest_that_is_killed_leaves_whole_versions_only(workspace, tmp_path, after):
    """P1: wherever the kill comes, the newest version can be read, and a next ingest goes on from it."""
    code = (
        "import sys\nimport polars as pl\nfrom carrara import Workspace\nworkspace = Workspace(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "for n in range(1_000):\n"
        "    workspace.datasets.ingest_from('t', pl.DataFrame({'id': [n] * 5_000}), mode='append')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        time.sleep(after)
        writer.kill()
    versions = workspace.datasets.versions()
    for version in versions:
        found = workspace.datasets.read("t", version.version).collect()
        assert found.height == version.rows == 5_000 * version.version
        assert sorted(found["id"].unique()) == list(range(version.version))
    made = workspace.datasets.ingest_from("t", pl.DataFrame({"id": [-1]}), mode="append").version
    assert workspace.datasets.read("t").collect().height == made.rows == 5_000 * len(versions) + 1


PEOPLE = pl.DataFrame({"user": [f"u{n % 700}" for n in range(5_000)], "label": [n % 10 == 0 for n in range(5_000)]})


def test_a_row_never_changes_sides_as_data_grow():
    split = HashSplit(key=("user",), validation=0.2, test=0.2)
    before = {user: part for part, rows in split.split(PEOPLE[:2_000]).items() for user in rows["user"]}
    after = {user: part for part, rows in split.split(PEOPLE).items() for user in rows["user"]}
    assert all(after[user] == part for user, part in before.items())
    parts = split.split(PEOPLE)
    assert sum(part.height for part in parts.values()) == PEOPLE.height
    assert not set(parts["train"]["user"]) & set(parts["test"]["user"])
    assert parts["test"].height == pytest.approx(1_000, rel=0.2)
    other = HashSplit(key=("user",), salt="other").split(PEOPLE)
    assert set(other["test"]["user"]) != set(parts["test"]["user"])


def test_strata_have_the_same_shares_in_every_part():
    rows = PEOPLE.with_row_index("id")
    parts = StratifiedSplit(by="label", key=("id",), validation=0.1, test=0.3).split(rows)
    assert {name: part.height for name, part in parts.items()} == {"train": 3_000, "validation": 500, "test": 1_500}
    assert [part["label"].mean() for part in parts.values()] == [0.1, 0.1, 0.1]


def test_a_split_that_leaves_a_part_empty_is_told():
    with pytest.raises(DataError, match="part has no rows"):
        HashSplit(key=("user",)).split(PEOPLE[:1])


def test_an_error_of_the_lake_is_a_storage_error(workspace, tmp_path):
    (tmp_path / ".carrara").mkdir(exist_ok=True)
    (tmp_path / ".carrara" / "lake").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="datasets/t"):
        workspace.datasets.ingest_from("t", rows((1, "a")))
