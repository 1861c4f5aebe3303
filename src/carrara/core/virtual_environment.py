"""A Python environment made of recorded distributions: complete, or made again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

from carrara.core.digests import digest_data
from carrara.core.errors import UnavailableError

_NAME = "carrara"
_COMPLETE = "complete"
_LINES = 12


def make_environment(folder: Path, python: str, recorded: Mapping[str, str], wanted: Sequence[str]) -> Path:
    """An environment in `folder` with Carrara's own requirements and the `wanted` distributions, and all that these
    need, in the `recorded` versions; its place. One that was made whole before is taken.

    By uv where it is installed, else by venv and pip, from the index that these are configured for. Raises
    UnavailableError, with what the installer said, where it cannot be made.
    """
    needed = sorted({*_requirements(), *(name for name in wanted if name in recorded)})
    place = folder / digest_data([python, dict(recorded), needed])[:16]
    if not (place / _COMPLETE).exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        pins = place / "recorded.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(recorded.items()) if name != _NAME))
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        for command in _commands(uv, place, python, [*needed, "-c", str(pins)]):
            _run(command)
        _link_carrara(place / "code")
        (place / _COMPLETE).touch()
    return place


def run_in(place: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Carrara, as it is here, by the interpreter and the distributions of an environment."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    command = [str(_interpreter(place)), "-m", _NAME, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**variables, "PYTHONPATH": str(place / "code")})


def _commands(uv: str | None, place: Path, python: str, needed: list[str]) -> list[list[str]]:
    environment, interpreter = str(place / "environment"), str(_interpreter(place))
    if uv is not None:
        found = [f"--find-links={one}" for one in os.environ.get("PIP_FIND_LINKS", "").split()]
        return [
            [uv, "venv", "--quiet", "--python", python, environment],
            [uv, "pip", "install", "--quiet", "--python", interpreter, *found, *needed],
        ]
    here = ".".join(map(str, sys.version_info[:2]))
    if python.split(".")[:2] != here.split("."):
        raise UnavailableError(
            f"the version was trained by Python {python}, and this is {here}",
            hint="Install uv, which brings other Pythons, or run this by that one.",
        )
    return [[sys.executable, "-m", "venv", environment], [interpreter, "-m", "pip", "install", "--quiet", *needed]]


def _requirements() -> list[str]:
    """The names of what Carrara itself needs."""
    asked = [one for one in distribution(_NAME).requires or [] if "extra ==" not in one]
    return [re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0].lower() for one in asked]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-_LINES:])
        raise UnavailableError(
            f"the environment could not be made: {' '.join(command[:3])} … ended with {done.returncode}\n  {last}",
            hint="It is made from the package index that pip or uv are configured for; the next call begins anew.",
        )


def _link_carrara(folder: Path) -> None:
    """This Carrara and its entry points, and nothing else of this environment."""
    folder.mkdir()
    found = distribution(_NAME)
    assert isinstance(found, PathDistribution)
    for place in (Path(__file__).parents[1], Path(str(found._path))):
        (folder / place.name).symlink_to(place, target_is_directory=True)


def _interpreter(place: Path) -> Path:
    return place / "environment" / "bin" / "python"
