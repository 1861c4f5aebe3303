"""The lake: each write a version, each version readable for good."""

from __future__ import annotations

import shutil
import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from carrara.core.errors import ConfigurationError, NotFoundError, Overtaken
from carrara.storage.lake import Lake

ONE = pl.DataFrame({"a": [1, 2], "s": ["x", None]})


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def test_every_version_stays_readable(lake):
    other = pl.DataFrame({"a": [7], "s": ["z"]})
    assert (lake.write("datasets/t", ONE), lake.write("datasets/t", other)) == (0, 1)
    assert_frame_equal(lake.scan("datasets/t", 0).collect(), ONE)
    assert_frame_equal(lake.scan("datasets/t", 1).collect(), other)
    assert_frame_equal(lake.scan("datasets/t").collect(), other)


def test_overwriting_takes_the_new_columns_and_types(lake):
    lake.write("t", ONE)
    changed = pl.DataFrame({"a": ["text"], "new": [1.5]})
    lake.write("t", changed)
    assert_frame_equal(lake.scan("t").collect(), changed)
    assert_frame_equal(lake.scan("t", 0).collect(), ONE)


def test_appending_keeps_the_rows_and_adds_missing_columns_as_nulls(lake):
    lake.write("t", ONE)
    assert lake.write("t", pl.DataFrame({"a": [3], "new": [0.5]}), mode="append") == 1
    expected = pl.DataFrame({"a": [1, 2, 3], "s": ["x", None, None], "new": [None, None, 0.5]})
    assert_frame_equal(lake.scan("t").collect().sort("a"), expected)
    assert_frame_equal(lake.scan("t", 0).collect(), ONE)


def test_appending_to_a_table_that_is_not_there_makes_it(lake):
    lake.write("t", ONE, mode="append")
    assert_frame_equal(lake.scan("t").collect(), ONE)


def test_types_come_back_as_they_were(lake):
    frame = pl.DataFrame(
        {"at": ["2024-01-01T00:00:00.123456Z"], "b": [True], "f": [float("nan")], "i": [1]}
    ).with_columns(
        pl.col("at").str.to_datetime(time_unit="us", time_zone="UTC"),
        pl.col("i").cast(pl.Int32),
        pl.lit(1.5, pl.Float32).alias("f32"),
    )
    lake.write("t", frame)
    assert_frame_equal(lake.scan("t").collect(), frame)


def test_a_table_without_rows_keeps_its_columns(lake):
    lake.write("t", ONE.clear())
    assert_frame_equal(lake.scan("t").collect(), ONE.clear())


def test_a_table_that_was_never_written_is_named(lake):
    assert not lake.exists("datasets/none")
    with pytest.raises(NotFoundError, match="datasets/none"):
        lake.scan("datasets/none")


@pytest.mark.parametrize("kill_after", [1, 2, 5])
def test_a_writer_that_is_killed_leaves_a_whole_version(lake, tmp_path, kill_after):
    """P1: killed while it writes the next version, wherever in it that is."""
    code = (
        "import sys\nimport polars as pl\nfrom carrara.storage.lake import Lake\nlake = Lake(sys.argv[1])\n"
        "for n in range(1000):\n"
        "    lake.write('t', pl.DataFrame({'n': [n] * 20_000}))\n    print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lake")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        told = [int(writer.stdout.readline()) for _ in range(kill_after)]
        writer.kill()
        told += [int(line) for line in writer.stdout if line.endswith("\n")]
    found = lake.scan("t").collect()["n"]
    assert found.len() == 20_000
    assert found.unique().to_list() in ([told[-1]], [told[-1] + 1])
    lake.write("t", ONE)
    assert_frame_equal(lake.scan("t").collect(), ONE)


def test_two_processes_that_append_at_once_lose_no_row(lake, tmp_path):
    lake.write("t", pl.DataFrame({"n": [-1]}))
    code = (
        "import sys\nimport polars as pl\nfrom carrara.storage.lake import Lake\nlake = Lake(sys.argv[1])\n"
        "for n in range(10):\n    lake.write('t', pl.DataFrame({'n': [int(sys.argv[2]) + n]}), mode='append')\n"
    )
    commands = [[sys.executable, "-c", code, str(tmp_path / "lake"), str(start)] for start in (0, 10)]
    others = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [other.communicate()[1] for other in others]
    assert [other.returncode for other in others] == [0, 0], said
    assert sorted(lake.scan("t").collect()["n"]) == list(range(-1, 20))


def test_an_address_that_is_not_supported_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="s3://bucket"):
        Lake("s3://bucket/lake")


def test_a_folder_may_have_a_space_and_letters_of_any_script_in_its_name(tmp_path):
    lake = Lake(str(tmp_path / "Meine Übungen 100%" / "lake"))
    lake.write("t", pl.DataFrame({"a": [1]}))
    lake.append("t", pl.DataFrame({"a": [2]}))
    assert sorted(lake.scan("t").collect()["a"]) == [1, 2]
    assert lake.scan_appended("t", after=0).collect()["a"].to_list() == [2]


def test_a_folder_that_delta_cannot_name_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"(?s)take no \[ \] in a path.*Rename"):
        Lake(str(tmp_path / "data[1]"))


def test_files_of_other_writers_are_one_version_once_they_are_committed(lake):
    lake.write("t", pl.DataFrame({"a": [1]}))
    parts = {f"part-{n}.parquet": pl.DataFrame({"b": [n, n]}) for n in range(2)}
    for name, part in parts.items():
        part.write_parquet(lake.folder("t") / name)
    assert lake.scan("t").collect().columns == ["a"]
    version = lake.commit_files("t", pl.Schema({"b": pl.Int64()}), dict.fromkeys(parts, 2))
    assert sorted(lake.scan("t", version).collect()["b"]) == [0, 0, 1, 1]
    assert lake.scan("t", 0).collect()["a"].to_list() == [1]
    empty = lake.commit_files("t", pl.Schema({"c": pl.String()}), {})
    assert lake.scan("t", empty).collect().schema == {"c": pl.String()}


def test_what_others_append_in_between_is_kept_and_their_positions_are_seen(lake, tmp_path):
    other = Lake(str(tmp_path / "lake"))
    for turn in range(3):
        for place, one in enumerate((lake, other)):
            number = 2 * turn + place + 1
            one.append("t", ONE.head(1), moves={"queue": (number - 1 or None, number)})
            assert (lake.position("t", "queue"), other.position("t", "queue")) == (number, number)
    with pytest.raises(Overtaken):
        other.append("t", ONE, moves={"queue": (5, 7)})
    assert lake.scan("t").collect().height == 6


def test_a_table_that_was_made_anew_has_nothing_of_the_one_before(lake, tmp_path):
    for _ in range(3):
        lake.append("t", ONE, moves={"queue": (lake.position("t", "queue"), 9)})
    shutil.rmtree(tmp_path / "lake" / "t")
    assert lake.position("t", "queue") is None
    lake.append("t", ONE.head(1))
    assert_frame_equal(lake.scan("t").collect(), ONE.head(1))
    assert lake.newest("t") == 1
