"""What every online store promises, asked of each of them as it really runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from carrara.core.errors import ConfigurationError, NotFoundError, StorageError
from carrara.storage.online.base import open_online_store

KEYS = [f"k{n}".encode() for n in range(50)]


@pytest.fixture
def store(online_address, tmp_path):
    made = open_online_store(online_address, tmp_path)
    yield made
    made.close()


def put(store, table: str, **rows: bytes) -> None:
    keys = [name.encode() for name in rows]
    assert store.swap(table, keys, store.read(table, keys), list(rows.values())) == []


def test_rows_come_back_by_key_in_the_order_asked(store):
    assert store.read("t", [b"a", b"b"]) == [None, None]
    assert store.swap("t", [b"a", b"b"], [None, None], [b"1", b"2"]) == []
    assert store.read("t", [b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    assert store.read("t", []) == []


def test_only_rows_that_are_still_as_they_were_read_are_replaced(store):
    put(store, "t", a=b"1", b=b"2", c=b"3")
    assert store.swap("t", [b"a", b"b", b"d", b"c"], [b"1", b"old", b"old", None], [b"10", b"20", b"40", b"30"]) == [
        1,
        2,
        3,
    ]
    assert store.read("t", [b"a", b"b", b"c", b"d"]) == [b"10", b"2", b"3", None]


def test_a_row_is_taken_away_by_none(store):
    put(store, "t", a=b"1", b=b"2")
    assert store.swap("t", [b"a", b"b", b"c"], [b"1", b"no", None], [None, None, None]) == [1]
    assert store.read("t", [b"a", b"b", b"c"]) == [None, b"2", None]


def test_tables_do_not_see_each_other(store):
    put(store, "t", a=b"1")
    put(store, "tt", a=b"2")
    store.swap("t", [b"a"], [b"1"], [None])
    assert (store.read("t", [b"a"]), store.read("tt", [b"a"])) == ([None], [b"2"])


@pytest.mark.parametrize("row", [b"0", b"1", b"\x00", b"\xff" * 300_000, bytes(range(256))])
@pytest.mark.parametrize("key", [b"\x00mark", b"a\x1fb", b"\xff", "ключ".encode(), b"x" * 255])
def test_any_bytes_are_kept(store, key, row):
    assert store.swap("t", [key], [None], [row]) == []
    assert store.read("t", [key]) == [row]
    assert store.swap("t", [key], [row], [None]) == []


def test_more_rows_than_one_command_takes(store, online_server):
    keys = [str(n).encode() for n in range(130 if online_server[0] == "dynamodb" else 2_500)]
    assert store.swap("many", keys, [None] * len(keys), keys) == []
    assert store.read("many", keys[::-1]) == keys[::-1]
    changed = [b"new"] * len(keys)
    last = len(keys) - 3
    wrong = [b"no" if n in (7, last) else key for n, key in enumerate(keys)]
    assert store.swap("many", keys, wrong, changed) == [7, last]


def test_of_many_writers_of_one_row_none_is_lost(store):
    """Each adds one to what it has read: a lost update would show in the sum."""
    put(store, "t", sum=b"0")

    def count() -> None:
        for _ in range(10):
            while True:
                (row,) = store.read("t", [b"sum"])
                if not store.swap("t", [b"sum"], [row], [str(int(row or b"0") + 1).encode()]):
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("t", [b"sum"]) == [b"40"]


def test_another_process_reads_what_this_one_writes(store, online_address, tmp_path):
    put(store, "t", a=b"1")
    code = (
        "import sys\nfrom pathlib import Path\nfrom carrara.storage.online.base import open_online_store\n"
        "store = open_online_store(sys.argv[1], Path(sys.argv[2]))\n"
        "print(store.read('t', [b'a']), flush=True)\nsys.stdin.readline()\nprint(store.read('t', [b'a']))\n"
    )
    command = [sys.executable, "-c", code, online_address, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert other.stdout.readline() == "[b'1']\n"
    put(store, "t", a=b"2")
    assert other.communicate("go\n")[0] == "[b'2']\n"


def test_rows_are_there_after_closing_and_opening_again(online_address, tmp_path):
    first = open_online_store(online_address, tmp_path)
    put(first, "kept", a=b"\x00\xff")
    first.close()
    second = open_online_store(online_address, tmp_path)
    assert second.read("kept", [b"a"]) == [b"\x00\xff"]
    second.close()


# LMDB alone: what its one file gives beyond that.


def test_an_embedded_store_that_is_closed_is_said_to_whoever_still_asks(tmp_path):
    store = open_online_store("lmdb:online", tmp_path)
    put(store, "t", a=b"1")
    store.close()
    with pytest.raises(StorageError, match=r"online cannot be read: .*closed"):
        store.read("t", [b"a"])
    with pytest.raises(StorageError, match=r"online cannot be written: .*closed"):
        store.swap("t", [b"a"], [b"1"], [b"2"])


def test_readers_in_other_processes_see_each_swap_whole_while_it_goes_on(tmp_path):
    store = open_online_store("lmdb:online", tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom carrara.storage.online.base import open_online_store\n"
        "store = open_online_store('lmdb:online', Path(sys.argv[1]))\n"
        "keys = [f'k{n}'.encode() for n in range(50)]\nseen = []\nprint('ready', flush=True)\n"
        "while not seen or seen[-1] != 300:\n"
        "    rows = set(store.read('t', keys))\n    assert len(rows) == 1, rows\n"
        "    now = int(rows.pop())\n"
        "    if not seen or seen[-1] != now:\n        seen.append(now)\n"
        "assert seen == sorted(seen), seen\nprint(len(seen))\n"
    )
    assert store.swap("t", KEYS, [None] * 50, [b"0"] * 50) == []
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 2
    for n in range(1, 301):
        assert store.swap("t", KEYS, [str(n - 1).encode()] * 50, [str(n).encode()] * 50) == []
    said = [reader.communicate(timeout=60) for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0], said
    store.close()


# Addresses.


def test_an_unknown_scheme_names_the_nearest(tmp_path):
    with pytest.raises(NotFoundError, match="Did you mean 'lmdb'"):
        open_online_store("lmbd:x", tmp_path)
    with pytest.raises(ConfigurationError, match="is not an online store"):
        open_online_store("online", tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "redis://user:secret@127.0.0.1:1/0",
        "dynamodb://rows?region=eu-west-1&endpoint=http://127.0.0.1:1",
        "cassandra://127.0.0.1:1/features",
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_secrets(address, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(StorageError, match=r"(?s)does not answer.*carrara\.toml") as raised:
        open_online_store(address, tmp_path).read("t", [b"a"])
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["dynamodb:", "cassandra://host"])
def test_an_address_that_names_no_place_is_told_how_to_name_one(address, tmp_path):
    with pytest.raises(ConfigurationError, match=r"Write (dynamodb|cassandra)://"):
        open_online_store(address, Path(tmp_path))
