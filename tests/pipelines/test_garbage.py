"""Garbage in the lake: what a failed writer has left goes, what a version holds stays."""

from __future__ import annotations

import polars as pl
import pytest

from carrara.core.errors import StorageError
from carrara.pipelines.garbage import collect


def test_files_that_were_never_committed_are_found_and_those_of_old_versions_are_not(trained):
    lake = trained.stores.lake
    for value in (1, 2):
        lake.write("datasets/again", pl.DataFrame({"x": [value] * 10}))
    folder = lake.folder("datasets/again")
    (folder / "part-of-a-killed-writer.parquet").write_bytes(b"half")
    other = lake.folder("datasets/never")
    (other / "part-0.parquet").write_bytes(b"the first commit never came")
    found = collect(trained.stores, grace_seconds=-1)
    left = {str(item.path.relative_to(lake.folder(""))) for item in found.items if "its table" in item.why}
    assert left == {"datasets/again/part-of-a-killed-writer.parquet", "datasets/never/part-0.parquet"}
    assert lake.scan("datasets/again", 0).collect()["x"].to_list() == [1] * 10
    assert trained.train("late").reused
    assert trained.models.reproduce("late@1").equal


def test_a_writer_that_fails_leaves_garbage_and_no_version(trained):
    lake = trained.stores.lake
    schema = pl.Schema({"x": pl.Int64})

    def batches():
        for _ in range(40):
            yield pl.DataFrame({"x": range(100_000)}, schema=schema)
        raise StorageError("the source is gone")

    with pytest.raises(StorageError, match="the source is gone"):
        lake.write_batches("datasets/broken", schema, batches())
    assert not lake.exists("datasets/broken")
    collect(trained.stores, grace_seconds=-1)
    assert list(lake.folder("datasets/broken").rglob("*.parquet")) == []


def test_a_deleted_version_is_trained_again_under_the_next_number(fresh):
    fresh.train("late")
    fresh.models.delete("late@1")
    assert collect(fresh.stores, grace_seconds=-1).bytes > 0
    again = fresh.train("late")
    assert (str(again.version), again.reused) == ("late@2", False)
    assert fresh.models.record("late@2")["metrics"]["test"]
