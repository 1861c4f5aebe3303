"""Runs are seen while they run, stopped, and gone on with; a killed one is known to be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from carrara.core.errors import NotFoundError, TrainingError, UnavailableError
from carrara.core.processes import Process
from carrara.workspace.workspace import Workspace
from commands import carrara

SLOW = "trainer=carrara.XGBoost(trees=1_000_000, depth=1, early_stopping=1_000_000),"


def command(*words: str, folder: Path) -> CompletedProcess[str]:
    return carrara(*words, "-w", folder)


@pytest.fixture
def running(fresh):
    """A training that measures, and takes long; and its workspace."""
    text = (fresh.root / "definitions.py").read_text()
    (fresh.root / "definitions.py").write_text(text.replace("trainer=carrara.XGBoost(trees=40, depth=3),", SLOW))
    fresh.close()
    words = [sys.executable, "-m", "carrara", "train", "late", "-w", str(fresh.root)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with Workspace(fresh.root) as workspace:
        while not (found := workspace.runs("train")) or "validation loss" not in workspace.run_metrics(found[0].id):
            assert process.poll() is None
            time.sleep(0.02)
        yield workspace, process, found[0]
    process.kill()
    process.wait()


def test_a_run_is_seen_while_it_runs_and_stopped_and_gone_on_with(running):
    workspace, process, run = running
    assert (run.state, run.process.number) == ("running", process.pid)
    measured = workspace.run_metrics(run.id)["validation loss"]
    assert [step for step, _ in measured][:1] == [1]
    with pytest.raises(UnavailableError, match="is running"):
        workspace.resume(run.id)
    assert command("run", "stop", run.id[:13], folder=workspace.root).returncode == 0
    assert "carrara run resume" in process.communicate()[1]
    assert process.returncode == 143
    assert workspace.run(run.id).state == "stopped"
    log = command("run", "logs", run.id, folder=workspace.root).stdout
    assert "training set: " in log
    assert "Stopped" in log
    with pytest.raises(UnavailableError, match="it is stopped"):
        workspace.stop(run.id)

    text = (workspace.root / "definitions.py").read_text()
    (workspace.root / "definitions.py").write_text(text.replace("trees=1_000_000", "trees=5"))
    done = command("run", "resume", run.id, "--json", folder=workspace.root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == 1


def test_a_run_that_was_killed_is_lost(running):
    workspace, process, run = running
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert workspace.run(run.id).state == "lost"
    listed = json.loads(command("run", "list", "--kind", "train", "--json", folder=workspace.root).stdout)
    assert [(one["id"], one["state"]) for one in listed] == [(run.id, "lost")]
    shown = command("run", "show", run.id, folder=workspace.root).stdout
    assert "validation loss" in shown


def test_a_run_that_failed_says_why(fresh):
    text = (fresh.root / "definitions.py").read_text()
    (fresh.root / "definitions.py").write_text(
        text.replace("trainer=carrara.XGBoost(trees=40, depth=3),", "trainer=carrara.Linear(),")
    )
    with Workspace(fresh.root) as workspace:
        with pytest.raises(TrainingError, match="no missing numbers"):
            workspace.train("late")
        (run,) = workspace.runs("train")
        assert run.state == "failed"
        assert "no missing numbers" in run.error
        assert "TrainingError" in workspace.run_log(run.id)
        assert command("run", "list", folder=workspace.root).stdout.count("failed") == 1


def test_what_cannot_be_stopped_or_resumed_is_said(trained):
    run = trained.runs("train")[0]
    with pytest.raises(UnavailableError, match="is not running: it is complete"):
        trained.stop(run.id)
    compute = trained.runs("compute")[0]
    with pytest.raises(UnavailableError, match="of the kind 'compute'"):
        trained.resume(compute.id)
    with pytest.raises(NotFoundError, match=r"(?s)no run 'nonsense'.*carrara run list"):
        trained.run("nonsense")


def test_a_later_process_of_the_same_number_is_another_one():
    here = Process.current()
    assert here.is_alive
    assert not Process(here.host, here.number, here.began + "1").is_alive
    assert Process("elsewhere", here.number, "").is_alive


def test_a_fit_ends_at_its_time_limit_and_a_net_goes_on_from_there(fresh, monkeypatch):
    monkeypatch.setattr("carrara.pipelines.limits.duration", lambda text: timedelta(0))
    path = fresh.root / "definitions.py"
    net = "trainer=carrara.Torch(epochs=3, batch_rows=64),\n    transforms=(carrara.Impute(), carrara.Standardise()),"
    text = path.read_text().replace("trainer=carrara.XGBoost(trees=40, depth=3),", net)
    path.write_text(text.replace('    "late",\n', '    "late",\n    time_limit="1s",\n', 1))
    fresh.close()
    for rounds in (1, 2, 3):
        with Workspace(fresh.root) as workspace:
            with pytest.raises(TrainingError, match=rf"(?s)time limit of 1s: {rounds} rounds.*go on"):
                workspace.train("late")
            assert workspace.runs("train")[0].state == "failed"
    with Workspace(fresh.root) as workspace:
        assert workspace.train("late").version.version == 1


def test_runs_are_compared_on_the_command_line(trained):
    ids = [one.id for one in trained.runs()[:2]]
    found = json.loads(carrara("run", "compare", *ids, "--json", "-w", trained.root).stdout)
    assert [one["id"] for one in found["runs"]] == ids
    assert all(len(one["values"]) == 2 for one in (*found["parameters"], *found["metrics"]))
    alone = carrara("run", "compare", ids[0], ids[0], "-w", trained.root)
    assert alone.returncode == 1
    assert "two or more" in alone.stderr
