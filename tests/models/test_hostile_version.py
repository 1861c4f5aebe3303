"""A version whose files are pickles is never run: by no command, no report, no export and no prediction (F12)."""

from __future__ import annotations

import contextlib
import os
import pickle

import pytest

from carrara.models.registry import register_files, written_record
from commands import carrara

COMMANDS = (
    ("show", "late@2", "--json"),
    ("parameters", "late@2"),
    ("tree", "late@2", "--tree", "0", "--what-if", "trip:far=1"),
    ("report", "late@2", "-o", "report.html"),
    ("card", "late@2"),
    ("diff", "late@1", "late@2"),
    ("compare", "late@1", "late@2"),
    ("scorecard", "late@2"),
    ("reproduce", "late@2"),
    ("export", "late@2", "-o", "late.carrara"),
    ("export", "late@2", "--mlflow", "-o", "late-mlflow"),
    ("push", "late@2", "pushed"),
)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.fixture
def hostile(trained, monkeypatch):
    """`late@2`, every file of which is a pickle; and a pickle as the record of `late@3`."""
    monkeypatch.chdir(trained.root)
    good, bomb = trained.models.get("late@1"), pickle.dumps(Bomb())
    files, record = trained.stores.artifacts.get_files(good.manifest), written_record(trained.stores, good)
    kept = {name: data for name, data in files.items() if name.startswith("definitions/") or name == "record.json"}
    same = {"format": good.format, "run_id": good.run_id, "sources": [], "key": None}
    register_files(trained.stores, record, {**dict.fromkeys(files, bomb), **kept}, **same)
    register_files(trained.stores, record, {**files, "record.json": bomb}, **same)
    return trained


def test_no_command_runs_what_is_in_a_file_of_a_version(hostile):
    for words in COMMANDS:
        for version in ("late@2", "late@3"):
            done = carrara("model", *(word.replace("late@2", version) for word in words), cwd=hostile.root)
            assert "Traceback" not in done.stderr, (words, done.stderr)
    assert not (hostile.root / "exploded").exists()


def test_no_call_runs_it_either(hostile):
    rows = [{"driver": "d1", "depot": "p0", "city": "c0", "distance": 3.0}]
    for version in ("late@2", "late@3"):
        for call in (hostile.deploy, hostile.models.trees, lambda address: hostile.predict(address, rows)):
            with contextlib.suppress(Exception):
                call(version)
    assert not (hostile.root / "exploded").exists()
