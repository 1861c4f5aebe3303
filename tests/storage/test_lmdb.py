"""The embedded online store: atomic, guarded by its watermark, read by many processes at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from carrara.core.errors import ConfigurationError, NotFoundError
from carrara.storage.online.base import open_online_store


@pytest.fixture
def store(tmp_path):
    made = open_online_store("lmdb:online", tmp_path)
    yield made
    made.close()


def test_rows_and_watermark_move_together(store):
    assert store.watermark("t") is None
    assert store.write("t", [b"a", b"b"], [b"1", b"2"], expected=None, watermark=5)
    assert store.read("t", [b"b", b"x", b"a"]) == [b"2", None, b"1"]
    assert store.watermark("t") == 5


def test_a_writer_that_was_overtaken_writes_nothing(store):
    store.write("t", [b"a"], [b"1"], expected=None, watermark=5)
    assert not store.write("t", [b"a", b"b"], [b"old", b"old"], expected=None, watermark=9)
    assert store.read("t", [b"a", b"b"]) == [b"1", None]
    assert store.watermark("t") == 5


def test_tables_do_not_see_each_other(store):
    store.write("t", [b"a"], [b"1"], expected=None, watermark=1)
    store.write("tt", [b"a"], [b"2"], expected=None, watermark=2)
    store.clear("t")
    assert (store.read("t", [b"a"]), store.watermark("t")) == ([None], None)
    assert (store.read("tt", [b"a"]), store.watermark("tt")) == ([b"2"], 2)


def test_another_process_reads_what_this_one_writes(store, tmp_path):
    store.write("t", [b"a"], [b"1"], expected=None, watermark=1)
    code = (
        "import sys\nfrom pathlib import Path\nfrom carrara.storage.online.base import open_online_store\n"
        "store = open_online_store('lmdb:online', Path(sys.argv[1]))\n"
        "print(store.read('t', [b'a']), flush=True)\nsys.stdin.readline()\nprint(store.read('t', [b'a']))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "[b'1']\n"
    store.write("t", [b"a"], [b"2"], expected=1, watermark=2)
    assert other.communicate("go\n")[0] == "[b'2']\n"


def test_an_unknown_scheme_names_the_nearest(tmp_path):
    with pytest.raises(NotFoundError, match="Did you mean 'lmdb'"):
        open_online_store("lmbd:x", tmp_path)
    with pytest.raises(ConfigurationError, match="is not an online store"):
        open_online_store("online", tmp_path)
