"""The accelerators of this machine, as its drivers tell of them: no framework is imported."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Accelerator:
    """A card, by what it is called; `memory` in MiB and the `driver`'s version where they are told."""

    name: str
    kind: str
    memory: int | None = None
    driver: str | None = None

    def __str__(self) -> str:
        told = [f"{self.memory / 1024:.0f} GiB" if self.memory else "", f"driver {self.driver}" if self.driver else ""]
        return ", ".join([self.name, *filter(None, told)])


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """Those of NVIDIA by `nvidia-smi`, in the order of their numbers, or the one of Apple's processors."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return (Accelerator("Apple GPU", "mps"),)
    if shutil.which("nvidia-smi") is None:
        return ()
    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return read_cards(done.stdout) if done.returncode == 0 else ()


def read_cards(said: str) -> tuple[Accelerator, ...]:
    """What nvidia-smi says of its cards, a line each.

    >>> [str(card) for card in read_cards("NVIDIA H100 80GB HBM3, 81559, 580.159.04")]
    ['NVIDIA H100 80GB HBM3, 80 GiB, driver 580.159.04']
    """
    lines = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.count(",") == 2]
    return tuple(
        Accelerator(name, "cuda", int(memory) if memory.isdigit() else None, driver) for name, memory, driver in lines
    )


def builds() -> dict[str, str | None]:
    """What the installed frameworks are built for, by their packages' names and files; None for those that are not
    there."""
    return {
        "torch": _torch_build(),
        "tensorflow": _built("tensorflow-cpu", "for the CPU") or _built("tensorflow", "for the CPU and CUDA"),
        "xgboost": _built("xgboost-cpu", "for the CPU") or _built("xgboost", "for the CPU and CUDA"),
    }


def _built(distribution: str, what: str) -> str | None:
    try:
        return f"{version(distribution)}, {what}"
    except PackageNotFoundError:
        return None


def _torch_build() -> str | None:
    """PyTorch writes down what it is built for; importing it takes seconds."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    told = dict(re.findall(r"^(\w+)\b[^=\n]*= '(.+)'$", Path(found.origin).with_name("version.py").read_text(), re.M))
    kinds = [f"{name} {told[key]}" for key, name in (("cuda", "CUDA"), ("hip", "ROCm")) if key in told]
    return f"{told.get('__version__', '')}, {f'for the CPU and {kinds[0]}' if kinds else 'for the CPU'}"
