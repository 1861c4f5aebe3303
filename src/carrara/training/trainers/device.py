"""Which device a fit computes on, for every trainer, and what a record tells of it.

"auto" is an accelerator where the library sees one, and else the CPU; a device that is named and not there is refused.
What was trained elsewhere is exported and proved on the CPU, as it is served there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from carrara.core.accelerators import accelerators
from carrara.core.errors import NotFoundError, TrainingError

_NAMES = ("auto", "cpu", "cuda", "cuda:0", "mps")


def check_device(asked: str) -> None:
    """Raises NotFoundError for what names no device.

    >>> check_device("gpu")
    Traceback (most recent call last):
    carrara.core.errors.NotFoundError: there is no device 'gpu'
      "cuda", or "auto" for an accelerator where there is one.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", asked):
        hint = '"cuda", or "auto" for an accelerator where there is one.' if asked.lower() == "gpu" else ""
        raise NotFoundError("device", asked, _NAMES, hint=hint)


def torch_device(torch: Any, asked: str) -> Any:
    """The `torch.device` of this process; those of one machine take its cards in turn. Raises as `_card` does, and
    TrainingError for one that PyTorch does not see."""
    if asked == "auto":
        seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        asked = next((name for name, there in seen.items() if there), "cpu")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise missing_device(asked, f"PyTorch {torch.__version__}", "sees no Apple GPU")
    if not asked.startswith("cuda"):
        return torch.device(asked)
    if not torch.cuda.is_available():
        raise missing_device(asked, f"PyTorch {torch.__version__}", _why(torch.version.cuda or torch.version.hip))
    device = torch.device("cuda", _card(asked, torch.cuda.device_count()))
    torch.cuda.set_device(device)
    return device


def xgboost_device(xgboost: Any, asked: str) -> str:
    """As XGBoost names it: `cpu`, `cuda:0`. Raises as `torch_device` does."""
    build = xgboost.build_info().get("USE_CUDA")
    cards = sum(card.kind == "cuda" for card in accelerators())
    if asked == "auto":
        asked = "cuda" if build and cards and has_own_card(cards) else "cpu"
    if asked == "cpu":
        return asked
    library = f"XGBoost {xgboost.__version__}"
    if asked == "mps":
        raise TrainingError(f"{library} does not compute on '{asked}'", hint='device="cpu", or "cuda".')
    if not build or not cards:
        raise missing_device(asked, library, _why(build))
    if not has_own_card(cards):
        raise TrainingError(
            f"{library} grows trees by processes with a card each, and there are {cards} on this machine",
            hint='Take fewer --workers, or device="cpu".',
        )
    return f"cuda:{_card(asked, cards)}"


def tensorflow_devices(tensorflow: Any, asked: str, *, one: bool = False) -> list[str]:
    """As TensorFlow names them: those that a fit computes on, or the `one` of a process that shares it with others.
    Raises as `torch_device` does."""
    seen = [device.name.removeprefix("/physical_device:") for device in tensorflow.config.list_physical_devices("GPU")]
    if asked == "cpu" or (asked == "auto" and not seen):
        return ["CPU:0"]
    if asked == "mps" or not seen:
        raise missing_device(asked, f"TensorFlow {tensorflow.__version__}", _why(tensorflow.test.is_built_with_cuda()))
    return [seen[_card(asked, len(seen))]] if one or ":" in asked else seen


def described(device: str, **more: Any) -> dict[str, Any]:
    """What a record tells of a device, and of the card that it is, such as `cuda:0`."""
    kind, _, place = device.lower().replace("gpu", "cuda").partition(":")
    cards = [card for card in accelerators() if card.kind == kind]
    number = int(place or 0)
    known: Mapping[str, Any] = {}
    if number < len(cards):
        known = {"name": cards[number].name, "driver": cards[number].driver}
    return {name: value for name, value in {"device": device, **known, **more}.items() if value is not None}


def has_own_card(cards: int) -> bool:
    """Whether each process of a fit on this machine has a card of its own."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= cards


def _card(asked: str, cards: int) -> int:
    """The number of a card: as it is named, or this process's share. NotFoundError for one that is not there."""
    _, _, named = asked.partition(":")
    if not named:
        return int(os.environ.get("LOCAL_RANK", "0")) % cards
    if int(named) >= cards:
        raise NotFoundError("device", asked, [f"cuda:{number}" for number in range(cards)])
    return int(named)


def _why(build: Any) -> str:
    return "sees no CUDA device" if build else "is built without CUDA"


def missing_device(asked: str, library: str, why: str) -> TrainingError:
    """What is raised for a device that a library cannot use, with what there is."""
    cards = accelerators()
    there = f"This machine has {', '.join(map(str, cards))}" if cards else "This machine has no accelerator"
    return TrainingError(
        f"there is no device '{asked}' to train on: {library} {why}",
        hint=f'{there}; device="cpu" is always there.',
    )
