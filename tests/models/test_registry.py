"""What the registry promises, with processes that are killed, and many at once; on SQLite and on PostgreSQL.

P1 complete or absent, P2 numbers, P3 aliases, P9 bytes; F1 to F6 and F10 to F12.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

import tiny_models
from carrara.core.clock import now
from carrara.core.errors import CarraraError, CheckFailed, CorruptArtifact, NotFoundError, StorageError
from carrara.core.failpoints import ENVIRONMENT
from carrara.metadata import deployments
from carrara.metadata.aliases import alias_history, current_aliases, move_alias
from carrara.metadata.model_values import say_of_version
from carrara.metadata.versions import list_versions
from carrara.models.approval import override
from carrara.models.deletion import delete
from carrara.models.registry import list_models, opened, read_record, register_files, resolve, written_record
from carrara.pipelines.garbage import collect
from carrara.storage.stores import Stores
from tiny_models import add_tiny, doubling, stores_at

HERE = Path(tiny_models.__file__).parent


@pytest.fixture
def stores(metadata_url, tmp_path):
    made = stores_at(metadata_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def local(tmp_path):
    """On SQLite alone: where the metadata store makes no difference."""
    made = stores_at(f"sqlite:///{tmp_path}/m.db", tmp_path)
    yield made
    made.close()


def in_another_process(stores: Stores, code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code that has `stores`, as another process on the same machine."""
    prelude = "import sys\nfrom pathlib import Path\nfrom tiny_models import *\n"
    prelude += "stores = stores_at(sys.argv[1], Path(sys.argv[2]))\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + code, stores.metadata.url, str(stores.root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}", **environment},
    )


def answers(stores: Stores, address: str) -> list[float]:
    with opened(stores, resolve(stores, address)) as servable:
        return servable.run({"x": np.array([1.5, 2], np.float32)})["doubled"].tolist()


POINTS = (
    *("register.before-files", "artifacts.mid-file", "artifacts.before-rename", "register.after-files"),
    *("versions.before-commit", "versions.after-commit", "register.after-commit"),
)


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_while_it_registers_leaves_a_whole_version_or_none(local, point):
    """P1 (F1); and the one that tries again with the same key makes one version (F2)."""
    killed = in_another_process(local, "add_tiny(stores, key='k')", **{ENVIRONMENT: f"{point}=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = list_models(local)
    assert [str(version) for version in left] == (["tiny@1"] if point.endswith(".after-commit") else [])
    again = add_tiny(local, key="k")
    assert str(again) == "tiny@1"
    assert answers(local, "tiny") == [3.0, 4.0]
    assert [str(version) for version in list_models(local)] == ["tiny@1"]
    collect(local, grace_seconds=-1)
    stray = [file for file in local.artifacts.files() if not file.digest]
    assert stray == []
    assert answers(local, "tiny") == [3.0, 4.0]


def test_a_request_that_is_made_again_gets_the_version_that_it_made(stores):
    """F2: the reply was lost after the commit."""
    first, other = add_tiny(stores, key="k"), add_tiny(stores, key="other")
    assert [str(first), str(other)] == ["tiny@1", "tiny@2"]
    assert add_tiny(stores, key="k", learned=b"another time") == first
    assert len(list_models(stores)) == 2


@pytest.mark.parametrize("processes", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_of_processes_that_register_at_once_each_gets_a_number_of_its_own(stores, processes):
    """P2 (F3), and nobody is told that the database is locked."""
    command = [sys.executable, str(HERE / "tiny_models.py"), stores.metadata.url, str(stores.root), str(processes), "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = sorted(int(line.partition("@")[2]) for line in done.stdout.split())
    assert told == list(range(1, 3 * processes + 1))
    versions = list_models(stores, "many")
    assert [version.version for version in versions] == told
    learned = {stores.artifacts.get_files(version.manifest)["learned/parameters.json"] for version in versions}
    assert len(learned) == 3 * processes
    assert answers(stores, "many@1") == answers(stores, f"many@{len(versions)}") == [3.0, 4.0]


def test_a_number_is_never_given_again(stores):
    """P2."""
    for _ in range(3):
        add_tiny(stores)
    delete(stores, resolve(stores, "tiny@3"))
    assert str(resolve(stores, "tiny")) == "tiny@2"
    assert str(add_tiny(stores)) == "tiny@4"
    with pytest.raises(NotFoundError, match="deleted it at"):
        resolve(stores, "tiny@3")


def test_movers_of_an_alias_and_one_who_deletes_leave_a_history_without_a_gap(stores):
    """P3 (F4): the alias never leads to what was deleted, whoever was first."""
    for _ in range(8):
        add_tiny(stores)
    refused, kept, start = [], [], threading.Barrier(3)

    def move(numbers: list[int]) -> None:
        start.wait()
        for number in numbers:
            try:
                move_alias(stores.metadata, "tiny", "live", number)
            except NotFoundError:
                refused.append(number)

    def erase() -> None:
        start.wait()
        for number in range(1, 8):
            try:
                delete(stores, resolve(stores, f"tiny@{number}"))
            except CheckFailed as error:
                kept.append(str(error))

    workers = [threading.Thread(target=move, args=([*numbers] * 3,)) for numbers in (range(1, 8, 2), range(2, 9, 2))]
    workers.append(threading.Thread(target=erase))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all("tiny@live is it" in reason for reason in kept)
    moves = [move.version for move in alias_history(stores.metadata, "tiny")]
    left = {version.version for version in list_models(stores)}
    assert len(moves) + len(refused) == 24
    assert sorted([*moves, *refused]) == sorted([*range(1, 9)] * 3)
    assert current_aliases(stores.metadata, "tiny") == {"live": moves[-1]}
    assert moves[-1] in left


def test_a_version_that_something_leads_to_is_not_deleted(stores):
    add_tiny(stores)
    add_tiny(stores, sources=("model:tiny@1",))
    deployments.deploy(stores.metadata, "shop", "tiny", 1, alias="champion")
    with pytest.raises(CheckFailed) as error:
        delete(stores, resolve(stores, "tiny@1"))
    assert [reason.split(":")[0] for reason in error.value.reasons] == [
        "endpoint shop serves it",
        "tiny@champion is it",
        "tiny@2 began from it",
    ]
    deployments.deploy(stores.metadata, "shop", "tiny", 2, alias="champion")
    with pytest.raises(CheckFailed, match="tiny@2 began from it"):
        delete(stores, resolve(stores, "tiny@1"))
    assert len(list_models(stores)) == 2


def test_what_was_deleted_meanwhile_is_not_deployed_and_gets_no_alias(stores):
    add_tiny(stores)
    add_tiny(stores)
    delete(stores, resolve(stores, "tiny@1"))
    with pytest.raises(NotFoundError):
        deployments.deploy(stores.metadata, "shop", "tiny", 1)
    with pytest.raises(NotFoundError):
        move_alias(stores.metadata, "tiny", "live", 1)
    assert deployments.current_deployments(stores.metadata) == []


@pytest.mark.parametrize("room", [200, 40_000])
def test_a_full_disk_is_told_and_leaves_the_store_as_it_was(local, room):
    """F5: a file may not grow beyond `room` bytes, in an artifact or in the log of SQLite."""
    add_tiny(local)
    code = (
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "from carrara.core.errors import StorageError\n"
        "try:\n    add_tiny(stores, learned=b'x' * 30_000)\n"
        "except StorageError as error:\n    print(error)\n"
    )
    done = in_another_process(local, code)
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout or "does not answer" in done.stdout
    assert [str(version) for version in list_models(local)] == ["tiny@1"]
    assert answers(local, "tiny") == [3.0, 4.0]
    assert str(add_tiny(local, learned=b"x" * 30_000)) == "tiny@2"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != room


def damage(stores: Stores, name: str, change) -> None:
    entry = stores.artifacts.manifest(resolve(stores, "tiny").manifest)[name]
    path = stores.artifacts._path(str(entry["sha256"]))
    path.chmod(0o644)
    change(path)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES = {
    "a flipped bit": _flip,
    "a byte too few": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte too many": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "nothing in it": lambda path: path.write_bytes(b""),
    "it is gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", ["servable/model.onnx", "learned/parameters.json", "record.json"])
@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_is_found_before_use_and_named(local, name, what):
    """P9 (F6)."""
    add_tiny(local, learned=b'{"w": [1, 2, 3]}')
    damage(local, name, DAMAGES[what])
    with pytest.raises(StorageError, match=name):
        answers(local, "tiny")
    # Trained again, the files are right again.
    add_tiny(local, learned=b'{"w": [1, 2, 3]}', key="again")
    assert answers(local, "tiny") == [3.0, 4.0]


def test_two_files_that_were_swapped_are_found(local):
    """P9 (F6)."""
    version = add_tiny(local, learned=doubling()[::-1])
    names = ("servable/model.onnx", "learned/parameters.json")
    one, other = (local.artifacts._path(str(local.artifacts.manifest(version.manifest)[n]["sha256"])) for n in names)
    contents = one.read_bytes(), other.read_bytes()
    for path, data in zip((other, one), contents, strict=True):
        path.chmod(0o644)
        path.write_bytes(data)
    with pytest.raises(CorruptArtifact):
        answers(local, "tiny")


def test_a_registered_file_is_sealed(local):
    """M33: nobody changes it by mistake, and the registry has no way to."""
    version = add_tiny(local)
    for entry in local.artifacts.manifest(version.manifest).values():
        assert local.artifacts._path(str(entry["sha256"])).stat().st_mode & 0o222 == 0


def test_nothing_that_is_said_of_a_version_or_done_with_it_changes_what_was_registered(local):
    """M33: decisions, words, aliases and deployments lie beside it, and a second registration is a second version."""
    version = add_tiny(local, key="k", gates_passed=False)
    record, files = written_record(local, version), local.artifacts.get_files(version.manifest)
    override(local, version, "the champion is wrong since Monday")
    say_of_version(local.metadata, "tiny", 1, {"owner": "ann", "tags.market": "eu"})
    move_alias(local.metadata, "tiny", "live", 1)
    deployments.deploy(local.metadata, "shop", "tiny", 1, alias="champion")
    assert str(add_tiny(local, key="k", learned=b"another")) == "tiny@1"
    assert str(add_tiny(local, learned=b"another")) == "tiny@2"
    found = resolve(local, "tiny@1")
    assert (found.manifest, written_record(local, found)) == (version.manifest, record)
    assert local.artifacts.get_files(found.manifest) == files


def test_garbage_is_collected_beside_readers_and_registrations_and_nothing_that_is_needed(stores):
    """F10."""
    add_tiny(stores)
    stop, errors = threading.Event(), []

    def go_on(work) -> None:
        try:
            while not stop.is_set():
                work()
        except Exception as error:
            errors.append(error)

    def sweep() -> None:
        collect(stores, grace_seconds=-1)

    workers = [threading.Thread(target=go_on, args=(work,)) for work in (sweep, lambda: answers(stores, "tiny@1"))]
    for worker in workers:
        worker.start()
    # The same bytes again and again, and bytes of one's own: both may be about to be collected.
    made = [add_tiny(stores, learned=f"{number % 3}".encode()) for number in range(25)]
    gone = [add_tiny(stores, learned=b"gone") for _ in range(3)]
    for version in gone:
        delete(stores, version)
    stop.set()
    for worker in workers:
        worker.join()
    assert errors == []
    collect(stores, grace_seconds=-1)
    for version in made:
        stores.artifacts.verify(version.manifest)
    with pytest.raises(StorageError, match="missing"):
        stores.artifacts.get(gone[0].manifest)


def test_a_dry_run_says_what_would_be_deleted_and_why_and_deletes_nothing(local):
    add_tiny(local)
    add_tiny(local, learned=b"only here" * 100)
    delete(local, resolve(local, "tiny@2"))
    local.artifacts.put(b"nobody's")
    planned = collect(local, grace_seconds=-1, dry_run=True)
    assert planned.bytes >= 900
    assert {item.why for item in planned.items} == {"of a deleted version: tiny@2", "named by no version and no step"}
    assert collect(local, grace_seconds=-1).items == planned.items
    assert collect(local, grace_seconds=-1).items == ()
    assert answers(local, "tiny@1") == [3.0, 4.0]


def test_what_was_just_written_is_left_to_its_writer(local):
    local.artifacts.put(b"a training is about to name this")
    assert collect(local).items == ()


NAMES = [
    *("", ".", "..", "../up", "/etc/passwd", "a/b", "a\\b", "a@b", "a:b", "nul\0", "left\u202eright", "a\nb", " a"),
    *("x" * 4_096, "<script>", "a\u200bb"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_could_lead_elsewhere_is_refused(local, name):
    """F11."""
    with pytest.raises(CarraraError, match="cannot be the name of a model"):
        add_tiny(local, name)
    assert list_models(local) == []
    assert list(local.artifacts.files()) == []


@pytest.mark.parametrize("name", ["modelhealth", "Case", "case", "ü-model", "a b", "v1.2", "x" * 100])
def test_a_name_that_only_looks_odd_is_taken(stores, name):
    """F11."""
    assert str(resolve(stores, str(add_tiny(stores, name)))) == f"{name}@1"


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("slot", ["model.onnx", "parameters.json", "record.json"])
def test_a_pickle_is_never_loaded(local, tmp_path, monkeypatch, slot):
    """F12: in any slot that takes bytes."""
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(Bomb())
    if slot == "record.json":
        good = add_tiny(local)
        files = {**local.artifacts.get_files(good.manifest), "record.json": bomb}
        register_files(local, written_record(local, good), files, format="onnx", run_id="r", sources=[], key=None)
    elif slot == "model.onnx":
        add_tiny(local, files={slot: bomb})
    else:
        add_tiny(local, learned=bomb)
    for use in (answers, lambda stores, address: read_record(stores, resolve(stores, address))):
        with contextlib.suppress(Exception):
            use(local, "tiny")
    assert not (tmp_path / "exploded").exists()


def test_a_record_of_a_newer_release_is_refused_with_what_to_do(local):
    version = add_tiny(local)
    files = local.artifacts.get_files(version.manifest)
    record = {**msgspec.json.decode(files["record.json"]), "record_format": 2}
    newer = {**files, "record.json": msgspec.json.encode(record)}
    register_files(local, record, newer, format="onnx", run_id="r", sources=[], key=None)
    with pytest.raises(StorageError, match="newer Carrara") as error:
        read_record(local, resolve(local, "tiny@2"))
    assert "pip install -U carrara" in error.value.hint
    assert read_record(local, resolve(local, "tiny@1"))["version"] == 1


def test_a_version_is_dated_when_it_was_registered(stores):
    before = now()
    made = add_tiny(stores)
    assert before <= made.registered_at <= now()
    assert [found.address for found in list_versions(stores.metadata, "model")] == ["model:tiny@1"]
