"""CSV that is not what it seems: each is told with file, line and column, and never read into something else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from carrara.core.errors import DataError, MalformedFile
from carrara.data.dataset import Dataset
from carrara.data.sources import csv as csv_module
from carrara.data.sources.csv import look_over


@pytest.fixture
def read(tmp_path):
    """The rows that a CSV of these bytes gives."""

    def made(content: bytes, **declared) -> pl.DataFrame:
        (tmp_path / "t.csv").write_bytes(content)
        dataset = Dataset("t", source="t.csv", **declared)
        with dataset.read_from.open(tmp_path, dataset.reading()) as opened:
            return pl.concat(opened.batches)

    return made


@pytest.mark.parametrize(
    ("content", "line", "column", "says"),
    [
        (b"a,b,c\n1,2,3\n4,5\n", 3, "", "2 fields, and the header has 3"),
        (b"a,b,c\n1,2,3\n4,5,6,7\n", 3, "", "4 fields, and the header has 3"),
        (b'a,b\n"x\ny",1\n"z\n\nw",2\n3\n', 7, "", "1 fields"),
        (b"a,b\n1,2\n\n3,4\n", 3, "", "blank"),
        (b"a,b,a\n1,2,3\n", 1, "a", "'a' is there 2 times, at places 1, 3"),
        (b"", 1, "", "empty"),
        (b"a,b\r1,2\r3,4\r", 1, "", "carriage return alone"),
        ("name,city\nx,Köln\n".encode("latin-1"), 2, "city", "0xf6 is not UTF-8"),
        ("name\nx\n".encode("utf-16"), 1, "", "UTF-16"),
        (b'a,b\n1,2\n"open,3\n4,5\n', 3, "", "never closed"),
        (b"a,b\n1,5\n2,99999999999999999999\n", 3, "b", "does not fit into 64 bits"),
        (b"a,b\n1,5\n2,9999999999999999999999999999999999999999999999\n", 3, "b", "does not fit"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_column(read, content, line, column, says):
    with pytest.raises(MalformedFile, match=says) as raised:
        read(content)
    assert (raised.value.line, raised.value.column) == (line, column)
    assert Path(raised.value.path).name == "t.csv"
    assert raised.value.hint


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"\xef\xbb\xbfa,b\n1,2\n", [(1, 2)]),
        (b"a,b\r\n1,x\n2,y\r\n", [(1, "x"), (2, "y")]),
        (b"a,b\n1,2\n\n\n", [(1, 2)]),
        (b"a,b\n1,2", [(1, 2)]),
        (b"a\n1\n\n3\n", [(1,), (None,), (3,)]),
        (b'a,b\n"x, ""y""\n z",2\n', [('x, "y"\n z', 2)]),
        (b"a,b\n", []),
    ],
)
def test_what_only_looks_odd_is_read(read, content, rows):
    found = read(content)
    assert found.columns == ["a", "b"][: found.width]
    assert found.rows() == rows


def test_a_declared_encoding_is_read_and_a_wrong_one_refused(read):
    content = "name,city\nx,Köln\n".encode("latin-1")
    assert read(content, encoding="latin-1")["city"].to_list() == ["Köln"]
    with pytest.raises(DataError, match="not written in utf-16"):
        read(content, encoding="utf-16")


def test_a_separator_can_be_declared(read):
    assert read(b"a;b\n1;2,5\n", separator=";")["b"].to_list() == ["2,5"]


def test_a_first_value_that_is_unlike_a_thousand_later_ones_decides_nothing(read):
    found = read(b"a\n" + b"1\n" * 5_000 + b"x\n")
    assert found["a"].dtype == pl.String


FIELD = st.text(alphabet='ab,"\n é', max_size=6)


@pytest.mark.parametrize("block", [1 << 22, 7], ids=["whole", "in pieces"])
def test_any_csv_that_polars_writes_is_found_whole(block, monkeypatch, tmp_path):
    monkeypatch.setattr(csv_module, "_BLOCK", block)

    @settings(max_examples=80, derandomize=True, deadline=None)
    @given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=8))
    def check(rows):
        written = pl.DataFrame(rows, schema=["x", "y", "z"], orient="row").write_csv(quote_style="non_numeric").encode()
        look = look_over(io.BytesIO(written), tmp_path / "t.csv")
        assert (look.header, look.rows, look.blank_tail) == (["x", "y", "z"], len(rows), 0)

    check()


@pytest.mark.parametrize("block", [1 << 22, 11], ids=["whole", "in pieces"])
def test_the_line_of_a_fault_is_right_wherever_the_blocks_end(block, monkeypatch, tmp_path):
    monkeypatch.setattr(csv_module, "_BLOCK", block)
    random = np.random.default_rng(0)
    for _ in range(40):
        lines = [f"{n},{'é' * int(random.integers(0, 4))}" for n in range(30)]
        wrong = int(random.integers(0, 30))
        lines[wrong] += ",more"
        content = "a,b\n" + "\n".join(lines) + "\n"
        with pytest.raises(MalformedFile) as raised:
            look_over(io.BytesIO(content.encode()), tmp_path / "t.csv")
        assert raised.value.line == wrong + 2
