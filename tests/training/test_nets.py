"""Nets by Keras and by PyTorch: they learn, repeat themselves, go on from a checkpoint, and say when they cannot."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from test_trainers import FEATURES_OF, PARTS, fit, model, quality, scores

from carrara.core.errors import DefinitionError, NotFoundError, TrainingError
from carrara.models.learned.parameters import told_parameters
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.fit import fit_model, fit_prepared, prepare
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.torch import Torch
from carrara.training.transforms.numbers import Impute, Standardise
from carrara.training.transforms.texts import Vocabulary
from carrara.workspace.workspace import Workspace
from commands import carrara

TRANSFORMS = (Impute(), Standardise(), Vocabulary())
NETS = {
    "keras": Keras(epochs=8, batch_rows=128, layers=(32, 16)),
    "torch": Torch(epochs=8, batch_rows=128, layers=(32, 16)),
}


@pytest.fixture(params=NETS)
def net(request):
    return NETS[request.param]


@pytest.mark.parametrize(
    "kind", ["multiclass", *(pytest.param(k, marks=pytest.mark.slow) for k in ("binary", "regression"))]
)
def test_a_net_with_embeddings_learns_and_is_equal_in_its_graph(tmp_path, net, kind):
    made = fit(kind, net, transforms=TRANSFORMS)
    assert (made.format, made.export["equal"]) == ("onnx", True)
    assert quality(kind, scores(made, tmp_path), made) > {"binary": 0.95, "multiclass": 0.75, "regression": 0.8}[kind]
    assert made.importance["v:colour"] > 0.02 > made.importance["v:c"]
    with np.load(io.BytesIO(made.learned["learned.npz"]), allow_pickle=False) as learned:
        assert sum(learned[name].size for name in learned.files) == made.summary["parameters"]
        assert learned["arr_0"].shape == (5, 3)  # three colours, a missing one, and others


def test_a_batch_in_parts_is_the_batch_at_once(net):
    whole = replace(net, dropout=0.0, epochs=2)
    one, parts = (
        fit("binary", each, transforms=TRANSFORMS, weight="weight") for each in (whole, replace(whole, accumulate=3))
    )
    np.testing.assert_allclose(one.curve["validation"], parts.curve["validation"], rtol=1e-4)
    assert "accumulate" not in whole.spec()
    with pytest.raises(DefinitionError, match="accumulate=0 divides no batch"):
        replace(net, accumulate=0)


def test_one_seed_gives_one_artifact_and_another_another(net):
    one, same = (fit("binary", net, transforms=TRANSFORMS) for _ in range(2))
    assert one.files == same.files
    other = replace(model("binary", net, transforms=TRANSFORMS), seed=1)
    assert fit_model(other, FEATURES_OF, PARTS).files != one.files


def test_a_fit_that_was_stopped_goes_on_to_the_same_end(tmp_path, net):
    whole = fit("multiclass", net, transforms=TRANSFORMS, weight="weight")
    checkpoint = FileCheckpoint(tmp_path / "checkpoints" / "one")
    prepared = prepare(model("multiclass", net, transforms=TRANSFORMS, weight="weight"), FEATURES_OF, PARTS)
    ran: list[int] = []

    def killed(number: int, loss: float) -> None:
        ran.append(number)
        if len(ran) == 3:
            raise KeyboardInterrupt

    task = replace(prepared.task, checkpoint=checkpoint, report=killed)
    made = model("multiclass", net, transforms=TRANSFORMS, weight="weight")
    with pytest.raises(KeyboardInterrupt):
        fit_prepared(made, replace(prepared, task=task))
    resumed = fit_prepared(made, replace(prepared, task=task))
    assert ran == [1, 2, 3, 4, 5, 6, 7, 8]
    assert resumed.files == whole.files
    assert resumed.curve == whole.curve


def test_it_stops_early_and_keeps_the_best_weights(net):
    made = fit("binary", replace(net, epochs=60, learning_rate=0.02, early_stopping=2), transforms=TRANSFORMS)
    losses = made.curve["validation"]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 3


def test_a_loss_that_is_no_number_ends_the_fit(net):
    with pytest.raises(TrainingError, match=r"(?s)the loss is (nan|inf) after epoch \d.*Standardise"):
        fit("regression", replace(net, learning_rate=1e30), transforms=TRANSFORMS)


def test_missing_numbers_are_refused_by_name(net):
    with pytest.raises(TrainingError, match=r"(?s)takes no missing numbers, and there are some in: v:a.*Impute"):
        fit("binary", net, features=("v:a", "v:b"), transforms=())


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, net, monkeypatch):
    checkpoint = FileCheckpoint(tmp_path / "one")
    checkpoint.write(b"before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(2):
        checkpoint.write(b"after")
    assert checkpoint.read() == b"before"
    assert "2 checkpoints could not be written (No space left on device)" in checkpoint.notes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_net_and_training_again_ends_with_the_same_model(fresh, tmp_path):
    text = (fresh.root / "definitions.py").read_text()
    transforms = "transforms=(carrara.Impute(), carrara.Standardise()),"
    net = f"trainer=carrara.Torch(epochs=12, early_stopping=12, batch_rows=8),\n    {transforms}"
    (fresh.root / "definitions.py").write_text(text.replace("trainer=carrara.XGBoost(trees=40, depth=3),", net))
    fresh.close()
    shutil.copytree(fresh.root, tmp_path / "other")

    command = [sys.executable, "-m", "carrara", "train", "late", "--json", "-w"]
    process = subprocess.Popen([*command, str(fresh.root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = fresh.root / ".carrara" / "checkpoints"
    while not (checkpoints.exists() and [path for path in checkpoints.iterdir() if path.suffix != ".partial"]):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for folder in (fresh.root, tmp_path / "other"):
        done = carrara(*command[3:], folder)
        assert done.returncode in (0, 3), done.stderr
    assert list(checkpoints.iterdir()) == []
    with Workspace(fresh.root) as killed, Workspace(tmp_path / "other") as whole:
        one, other = (ws.models.record("late@1") for ws in (killed, whole))
    assert one["parameters"]["learned"] == other["parameters"]["learned"]
    assert one["metrics"] == other["metrics"]


def weights(made) -> dict[str, np.ndarray]:
    names = [layer["layer"] for layer in told_parameters(made.learned)["layers"]]
    with np.load(io.BytesIO(made.learned["learned.npz"]), allow_pickle=False) as file:
        return {name: file[f"arr_{number}"] for number, name in enumerate(names)}


def gone_on(net, first):
    prepared = prepare(model("binary", net, transforms=TRANSFORMS), FEATURES_OF, PARTS)
    return fit_prepared(
        model("binary", net, transforms=TRANSFORMS),
        replace(prepared, task=replace(prepared.task, start=first.learned)),
    )


def test_layers_of_a_version_are_taken_and_frozen_by_their_names(net):
    first = fit("binary", replace(net, epochs=2), transforms=TRANSFORMS)
    other = replace(net, epochs=2, layers=(32, 8), take=("embedding *", "dense 1*"), freeze=("embedding *", "dense 1"))
    made = gone_on(other, first)
    before, after = weights(first), weights(made)
    for name in ("embedding 1", "dense 1"):
        np.testing.assert_array_equal(after[name], before[name])
    assert not np.array_equal(after["dense 1 offsets"], before["dense 1 offsets"])
    assert after["dense 2"].shape == (32, 8)
    assert made.export["equal"]
    assert made.files == gone_on(other, first).files


def test_layers_that_cannot_be_taken_or_frozen_are_said(net):
    first = fit("binary", replace(net, epochs=1), transforms=TRANSFORMS)
    with pytest.raises(NotFoundError, match="no layer 'dense 9'"):
        gone_on(replace(net, take=("dense 9",)), first)
    with pytest.raises(TrainingError, match=r"'dense 2' of the version .* is \(32, 16\), and is \(32, 8\) here"):
        gone_on(replace(net, layers=(32, 8), take=("dense *",)), first)
    with pytest.raises(TrainingError, match=r"(?s)frozen that no version has learned.*--from"):
        fit("binary", replace(net, freeze=("dense 1",)), transforms=TRANSFORMS)
    assert "take" not in net.spec()
