"""LMDB: readers in other processes see each write whole, while it goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from carrara.storage.online.base import open_online_store

KEYS = [f"k{n}".encode() for n in range(50)]


@pytest.fixture
def store(tmp_path):
    made = open_online_store("lmdb:online", tmp_path)
    yield made
    made.close()


def test_two_processes_that_read_while_one_writes_never_see_half_a_write(store, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom carrara.storage.online.base import open_online_store\n"
        "store = open_online_store('lmdb:online', Path(sys.argv[1]))\n"
        "keys = [f'k{n}'.encode() for n in range(50)]\nseen = []\nprint('ready', flush=True)\n"
        "while not seen or seen[-1] != 300:\n"
        "    rows = set(store.read('t', keys))\n    assert len(rows) == 1, rows\n"
        "    now = int(rows.pop())\n    assert store.watermark('t') >= now\n"
        "    if not seen or seen[-1] != now:\n        seen.append(now)\n"
        "assert seen == sorted(seen), seen\nprint(len(seen))\n"
    )
    assert store.write("t", KEYS, [b"0"] * 50, expected=None, watermark=0)
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 2
    for n in range(1, 301):
        assert store.write("t", KEYS, [str(n).encode()] * 50, expected=n - 1, watermark=n)
    said = [reader.communicate(timeout=60) for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0], said


def test_of_many_writers_with_one_watermark_one_writes(store, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom carrara.storage.online.base import open_online_store\n"
        "store = open_online_store('lmdb:online', Path(sys.argv[1]))\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "me = sys.argv[2].encode()\n"
        "def won(n):\n    return store.write('t', [b'a', b'b'], [me, me], expected=n or None, watermark=n + 1)\n"
        "print([n for n in range(100) if won(n)])\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)], **pipes) for n in range(3)]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 3
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [eval(writer.communicate(timeout=60)[0]) for writer in writers]
    every = sorted(n for one in won for n in one)
    assert every == list(range(100))
    assert store.watermark("t") == 100
    last = next(str(n).encode() for n, one in enumerate(won) if every[-1] in one)
    assert store.read("t", [b"a", b"b"]) == [last, last]


def test_clear_takes_every_row_of_the_table_in_one_step(store):
    store.write("t", KEYS, [b"1"] * 50, expected=None, watermark=3)
    store.clear("t")
    assert store.read("t", KEYS) == [None] * 50
    assert store.write("t", KEYS[:1], [b"2"], expected=None, watermark=1)
    store.clear("never written")


def test_rows_are_there_after_closing_and_opening_again(tmp_path):
    first = open_online_store("lmdb:online", tmp_path)
    first.write("t", [b"a\x00b", b"a"], [b"", b"\x00\xff"], expected=None, watermark=-5)
    first.close()
    second = open_online_store("lmdb:online", tmp_path)
    assert (second.read("t", [b"a\x00b", b"a"]), second.watermark("t")) == ([b"", b"\x00\xff"], -5)
    second.close()
