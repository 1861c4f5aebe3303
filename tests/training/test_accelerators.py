"""Accelerators: what is trained on one is what the CPU would train, and is exported, proved and gone on with there.

The tests that need a card are skipped without one; all others hold everywhere.
"""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carrara.core.errors import NotFoundError, TrainingError
from carrara.training.checkpoints import FileCheckpoint
from carrara.training.cluster.supervisor import fit_together
from carrara.training.cluster.team import Team
from carrara.training.feeds import batches
from carrara.training.proof import exported
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.lightgbm import LightGBM
from carrara.training.trainers.torch import Torch
from carrara.training.trainers.torch_feed import Feed
from carrara.training.trainers.xgboost import XGBoost

torch = pytest.importorskip("torch")

CUDA = torch.cuda.is_available()
on_a_card = pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
without_cuda = pytest.mark.skipif(CUDA, reason="this machine has a CUDA device")

RANDOM = np.random.default_rng(0)
ROWS, COLUMNS = 6_000, 8
VALUES = RANDOM.normal(size=(ROWS, COLUMNS)).astype(np.float32)
SIGNAL = VALUES[:, 0] * VALUES[:, 1] + VALUES[:, 2]
LABELS = {
    "binary": (SIGNAL > 0).astype(np.float32),
    "regression": SIGNAL.astype(np.float32),
    "multiclass": np.digitize(SIGNAL, (-0.5, 0.5)).astype(np.float32),
}
WEIGHTS = RANDOM.uniform(0.5, 2, ROWS).astype(np.float32)
NET = Torch(layers=(32, 16), epochs=4, early_stopping=4, batch_rows=500, dropout=0.0)
PLACES = {"f7": 5}


def parts(kind: str = "binary", *, weighted: bool = True) -> tuple[Part, Part]:
    values = VALUES.copy()
    values[:, 7] = np.arange(ROWS) % 5
    weights = WEIGHTS if weighted else None
    whole = [values, LABELS[kind], weights]
    return tuple(
        Part(*(None if one is None else one[rows] for one in whole)) for rows in (slice(5_000), slice(5_000, ROWS))
    )  # type: ignore[return-value]


def task(kind: str = "binary", **more: Any) -> Task:
    classes = ("a", "b", "c") if kind == "multiclass" else ()
    return Task(kind, tuple(f"f{number}" for number in range(COLUMNS)), classes, PLACES, **more)


def fitted(net: Torch | Keras, kind: str = "binary", **more: Any) -> Any:
    return net.fit(*parts(kind), task(kind, **more))


def learned(made: Any) -> list[np.ndarray]:
    with np.load(io.BytesIO(made.learned["learned.npz"]), allow_pickle=False) as file:
        return [file[name] for name in file.files]


def images_net(inputs: Any, task: Task) -> Any:
    import torch

    class Cnn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = torch.nn.Sequential(
                torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.BatchNorm2d(16)
            )
            self.last = torch.nn.Linear(16 * 4 * 4, task.outputs)

        def forward(self, inputs: Any) -> Any:
            return self.last(self.seen(inputs["image"][:, None]).flatten(1))

    return Cnn()


def unsteady_net(inputs: Any, task: Task) -> Any:
    import torch

    class Unsteady(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # What is learned comes before the operation: it is the way back that is not steady.
            self.scale = torch.nn.Parameter(torch.ones(4))
            self.last = torch.nn.Linear(8, task.outputs)

        def forward(self, inputs: Any) -> Any:
            flow = (inputs["numbers"][:, :4] * self.scale).reshape(-1, 1, 2, 2)
            wide = torch.nn.functional.interpolate(flow, size=(4, 2), mode="bicubic")
            return self.last(wide.flatten(1))

    return Unsteady()


def image_parts() -> tuple[Part, Part, Task]:
    random = np.random.default_rng(1)
    images, lower = random.normal(size=(3_000, 8, 8)).astype(np.float32), random.integers(0, 2, 3_000)
    images[np.arange(3_000), 1 + 5 * lower, 3] += 4
    flat, labels = images.reshape(3_000, 64), lower.astype(np.float32)
    names = tuple(f"image[{number}]" for number in range(64))
    told = Task("binary", names, shapes={"image": (8, 8)})
    return Part(flat[:2_500], labels[:2_500]), Part(flat[2_500:], labels[2_500:]), told


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_a_device_is_fed_the_rows_that_the_cpu_is(holds, weighted, kind):
    train, _ = parts(kind, weighted=weighted)
    cpu = torch.device("cpu")
    for rank in range(2):
        order = [*batches(train, 333, seed=0, epoch=1)]
        expected = list(Feed(torch, cpu, rank, 2).batches(train, order))
        found = list(Feed(torch, cpu, rank, 2, holds=holds).batches(train, iter(order)))
        assert len(expected) == len(found) == -(-len(train.labels) // 333)
        for one, other in zip(expected, found, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
            assert one.total == pytest.approx(other.total, rel=1e-6)


def test_slices_of_a_part_that_is_held_are_those_of_the_part():
    train, validation = parts()
    feed = Feed(torch, torch.device("cpu"), holds=True)
    list(feed.batches(train, batches(train, 500, seed=0, epoch=1)))
    for part in (train, validation):
        whole = torch.cat([batch.features for batch in feed.slices(part)])
        assert np.array_equal(whole.numpy(), part.features)


def test_mixed_precision_learns_and_is_served_in_float32():
    net = replace(NET, device="cpu", epochs=2)
    exact, mixed = fitted(net), fitted(replace(net, precision="bf16"))
    assert mixed.curve["validation"] != exact.curve["validation"]
    np.testing.assert_allclose(mixed.curve["validation"], exact.curve["validation"], rtol=0.03)
    assert all(one.dtype == np.float32 for one in learned(mixed))
    assert exported(mixed, "binary", parts()[1].features).proof["equal"]


@pytest.mark.slow
def test_keras_learns_in_mixed_precision_and_is_measured_and_served_in_float32():
    pytest.importorskip("tensorflow")
    net = Keras(epochs=2, batch_rows=256, layers=(16,), device="cpu", accumulate=2)
    told: dict[str, Any] = {}
    exact, mixed = fitted(net), fitted(replace(net, precision="bf16"), computed=told.update)
    assert told["precision"] == "bf16"
    assert mixed.curve["train"] != exact.curve["train"]
    np.testing.assert_allclose(mixed.curve["validation"], exact.curve["validation"], rtol=0.03)
    assert all(one.dtype == np.float32 for one in learned(mixed))
    assert exported(mixed, "binary", parts()[1].features).proof["equal"]
    assert "precision" not in net.spec()


def test_what_was_said_of_a_device_is_part_of_the_definition_only_where_it_says_something():
    assert not {"device", "precision", "deterministic"} & set(Torch().spec())
    named = Torch(device="cuda", precision="bf16").spec()
    assert (named["device"], named["precision"]) == ("cuda", "bf16")
    assert "device" not in XGBoost().spec()


def test_another_name_of_a_device_or_a_precision_is_refused_with_the_nearest_right_one():
    for trainer in (Torch, Keras, XGBoost):
        with pytest.raises(NotFoundError, match=r"(?s)no device 'gpu'.*\"cuda\""):
            trainer(device="gpu")
    with pytest.raises(NotFoundError, match=r"(?s)no device 'cudo'.*Did you mean 'cuda'"):
        Torch(device="cudo")
    for trainer in (Torch, Keras):
        with pytest.raises(NotFoundError, match="no precision 'fp8'"):
            trainer(precision="fp8")


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_told_with_what_there_is(device):
    for trainer, library in ((Torch, "PyTorch"), (XGBoost, "XGBoost")):
        with pytest.raises(TrainingError, match=rf"(?s)no device '{device}'.*{library} .*CUDA.*device=\"cpu\""):
            trainer(device=device).fit(*parts(), task())
    with pytest.raises(TrainingError, match=r"(?s)no device 'cuda' .*LightGBM .*device=\"cpu\""):
        LightGBM(device="cuda").fit(*parts(), task())


@without_cuda
def test_tensorflow_says_of_a_device_that_it_is_not_there():
    pytest.importorskip("tensorflow")
    with pytest.raises(TrainingError, match=r"(?s)no device 'cuda'.*TensorFlow .*built without CUDA"):
        Keras(device="cuda").fit(*parts(), task())


def test_the_device_of_a_fit_is_told():
    told: dict[str, Any] = {}
    fitted(replace(NET, device="cpu", epochs=1), computed=told.update)
    assert told == {"device": "cpu", "precision": "float32"}


@pytest.mark.slow
def test_keras_shares_a_batch_among_the_devices_of_one_process():
    """Two devices are made of one processor, in a process of its own."""
    pytest.importorskip("tensorflow")
    script = """
import numpy as np, tensorflow
cpu = tensorflow.config.list_physical_devices("CPU")[0]
tensorflow.config.set_logical_device_configuration(cpu, [tensorflow.config.LogicalDeviceConfiguration()] * 2)
from carrara.training.trainers.keras import Keras
from carrara.training.trainers import keras
from carrara.training.trainers.epochs import run_epochs
from carrara.training.trainers.keras_strategies import Alone, MirroredHere
from test_accelerators import parts, task
net = Keras(layers=(16,), epochs=3, early_stopping=3, batch_rows=333, dropout=0.0)
libraries = keras._libraries()
curves = []
for strategy in (Alone(libraries[0]), MirroredHere(libraries[0], ["CPU:0", "CPU:1"])):
    made = keras._KerasNet(*libraries, net, task(), strategy)
    curves.append(run_epochs(net, made, *parts(), task())[1]["validation"])
np.testing.assert_allclose(*curves, rtol=1e-4)
print("equal", made.devices()[0])
"""
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert "equal" in done.stdout, done.stderr[-3_000:]


@on_a_card
@pytest.mark.parametrize("kind", LABELS)
def test_a_card_learns_what_the_cpu_does(kind):
    told: dict[str, Any] = {}
    card, cpu = fitted(NET, kind, computed=told.update), fitted(replace(NET, device="cpu"), kind)
    np.testing.assert_allclose(card.curve["validation"], cpu.curve["validation"], rtol=1e-3)
    assert (told["device"], told["name"]) == ("cuda:0", torch.cuda.get_device_name(0))
    assert told["cuda"]


@on_a_card
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_one_seed_gives_one_net_on_a_card(precision):
    net = replace(NET, precision=precision, dropout=0.2)
    one, same = fitted(net), fitted(net)
    assert all(np.array_equal(a, b) for a, b in zip(learned(one), learned(same), strict=True))
    assert one.curve == same.curve


@on_a_card
@pytest.mark.parametrize("kind", LABELS)
def test_what_was_trained_on_a_card_is_proved_on_the_cpu(kind):
    _, validation = parts(kind)
    made = fitted(NET, kind)
    kept = exported(made, kind, validation.features)
    assert (kept.format, kept.proof["equal"]) == ("onnx", True)
    torch_alone = exported(replace(made, to_onnx=lambda: 1 / 0), kind, validation.features)
    assert (torch_alone.format, torch_alone.proof["native"]["equal"]) == ("torch", True)


@on_a_card
@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_of_one_device_is_gone_on_with_on_another(tmp_path, first, then):
    checkpoint, seen = FileCheckpoint(tmp_path / "one"), []

    def killed(number: int, loss: float) -> None:
        seen.append(number)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(replace(NET, device=first), checkpoint=checkpoint, report=killed)
    made = fitted(replace(NET, device=then), checkpoint=checkpoint, report=killed)
    assert seen == [1, 2, 3, 4]
    whole = fitted(replace(NET, device="cpu"))
    np.testing.assert_allclose(made.curve["validation"], whole.curve["validation"], rtol=1e-3)


@on_a_card
def test_rows_that_do_not_fit_into_a_card_are_copied_as_it_computes(monkeypatch):
    held = fitted(NET)
    monkeypatch.setattr(Feed, "_fits", lambda self, part: False)
    assert all(np.array_equal(a, b) for a, b in zip(learned(held), learned(fitted(NET)), strict=True))


@on_a_card
def test_a_net_of_ones_own_on_images_learns_on_a_card_and_is_equal_on_the_cpu():
    train, validation, told = image_parts()
    made = Torch(build=images_net, epochs=4, batch_rows=250).fit(train, validation, told)
    assert min(made.curve["validation"]) < 0.2
    assert exported(made, "binary", validation.features).proof["equal"]


@on_a_card
def test_an_operation_that_is_not_steady_is_told_and_may_be_allowed():
    net = Torch(build=unsteady_net, epochs=1)
    with pytest.raises(TrainingError, match=r"(?s)gives another answer each time.*deterministic=False"):
        fitted(net)
    fitted(replace(net, deterministic=False))


@on_a_card
def test_a_card_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(NotFoundError, match=r"(?s)no device 'cuda:99'.*cuda:0"):
        fitted(replace(NET, device="cuda:99"))


@on_a_card
def test_a_card_without_enough_memory_is_told():
    free = torch.cuda.mem_get_info()[0]
    taken = torch.empty(free - 256 * 2**20, dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(TrainingError, match=r"(?s)not enough memory.*batch_rows"):
            fitted(replace(NET, layers=(16_384, 16_384), epochs=1))
    finally:
        del taken
        torch.cuda.empty_cache()


@on_a_card
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_share_a_card_learn_what_one_does(workers, monkeypatch):
    """Two share it by Gloo; one has it by NCCL."""
    told: dict[str, Any] = {}
    together = fit_together(NET, *parts(), task(team=Team(workers), computed=told.update))
    made = fitted(NET, checkpoint=together.checkpoint, trained=True)
    np.testing.assert_allclose(made.curve["validation"], fitted(NET).curve["validation"], rtol=1e-3)
    assert (told["device"], told["backend"]) == ("cuda:0", "nccl" if workers == 1 else "gloo")


@on_a_card
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("sharded", [False, True])
def test_processes_with_a_card_each_add_up_by_nccl(sharded):
    told: dict[str, Any] = {}
    net = replace(NET, sharded=sharded)
    together = fit_together(net, *parts(), task(team=Team(2), computed=told.update))
    made = fitted(net, checkpoint=together.checkpoint, trained=True)
    np.testing.assert_allclose(made.curve["validation"], fitted(NET).curve["validation"], rtol=1e-3)
    assert told["backend"] == "nccl"
