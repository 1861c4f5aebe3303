"""Artifacts: what is read is what was stored, or an error that names it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from carrara.core.errors import ConfigurationError, CorruptArtifact, StorageError
from carrara.storage.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path / "artifacts"))


def file_of(store: ArtifactStore, digest: str, name: str):
    return store._path(str(store.manifest(digest)[name]["sha256"]))


def test_files_come_back_as_they_were(store, tmp_path):
    files = {"model.onnx": b"\x00\x01", "learned/tree.json": b"{}"}
    digest = store.put_files(files)
    assert store.get_files(digest) == files
    store.unpack(digest, tmp_path / "out")
    assert (tmp_path / "out/learned/tree.json").read_bytes() == b"{}"
    assert store.put_files(dict(reversed(files.items()))) == digest


@pytest.mark.parametrize(
    "damage", [lambda b: bytes([b[0] ^ 1]) + b[1:], lambda b: b[:-1], lambda b: b"", lambda b: b + b"x"]
)
def test_a_damaged_file_is_found_before_use_and_named(store, tmp_path, damage):
    """P9."""
    digest = store.put_files({"model.onnx": b"abcdef", "other": b"other"})
    path = file_of(store, digest, "model.onnx")
    path.write_bytes(damage(path.read_bytes()))
    for use in (store.verify, store.get_files, lambda d: store.unpack(d, tmp_path / "out")):
        with pytest.raises(CorruptArtifact, match=r"model\.onnx"):
            use(digest)


def test_a_missing_file_is_named(store):
    digest = store.put_files({"model.onnx": b"abcdef"})
    file_of(store, digest, "model.onnx").unlink()
    with pytest.raises(StorageError, match=r"model\.onnx"):
        store.verify(digest)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_name_that_leads_outside_is_not_written(store, tmp_path, name):
    digest = store.put_files({name: b"x"})
    with pytest.raises(StorageError, match="outside"):
        store.unpack(digest, tmp_path / "in" / "ner")
    assert not (tmp_path / "outside").exists()


def test_a_process_that_dies_before_the_rename_leaves_nothing_visible(store, tmp_path):
    """P1, at its first step."""
    code = (
        "import os, sys\nfrom carrara.storage.artifacts import ArtifactStore\n"
        "os.replace = lambda *_: os._exit(9)\nArtifactStore(sys.argv[1]).put(b'half')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "artifacts")])
    assert done.returncode == 9
    from carrara.core.digests import digest_bytes

    with pytest.raises(StorageError, match="missing"):
        store.get(digest_bytes(b"half"))
    assert store.get(store.put(b"half")) == b"half"


def test_an_fsync_that_fails_once_fails_that_write_and_is_not_tried_again(store, tmp_path, monkeypatch):
    """F7: what the kernel has reported once it may have forgotten; the second fsync would succeed and mean nothing."""
    asked, real = [], os.fsync

    def fails_once(handle):
        asked.append(handle)
        if len(asked) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(StorageError, match="Input/output error"):
        store.put(b"half")
    assert len(asked) == 1
    assert not list(store.files())
    digest = store.put(b"half")  # asked for anew, it is written anew
    assert len(asked) > 1
    assert store.get(digest) == b"half"


def test_an_address_that_is_not_supported_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="s3://bucket"):
        ArtifactStore("s3://bucket/models")
