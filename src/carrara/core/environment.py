"""What a run ran on: installed distributions, Python, platform, processor; and which code."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from carrara.core.accelerators import accelerators
from carrara.core.digests import digest_bytes


@cache
def environment() -> dict[str, Any]:
    """Python, platform, processors, accelerators, and every installed distribution with its version."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "accelerators": [str(card) for card in accelerators()],
        "distributions": _distributions(),
    }


def hardware() -> str:
    """What a measurement ran on, in words, e.g. `8 cores of AMD EPYC 7571, Linux x86_64, Python 3.12.3`."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores of {_processor()}, {system}, Python {platform.python_version()}"


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of some distributions, of those that are installed: others are not looked at."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _distributions() -> dict[str, str]:
    """Each distribution by its name in lower case; of one that is there twice, what is imported, which comes first."""
    found: dict[str, str] = {}
    for one in distributions():
        # It is parsed at each look.
        told = one.metadata
        if told["Name"]:
            found.setdefault(told["Name"].lower(), told["Version"])
    return found


def _processor() -> str:
    """What the cores are, as the system names them."""
    try:
        named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        named = None
    return named[1] if named else platform.processor() or platform.machine()


def code_version(folder: Path) -> dict[str, Any]:
    """The git revision of a folder, and a digest of what is changed on top of it; None outside of git.

    `command` is what was run.
    """
    revision = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "diff", "HEAD", "--", ".") if revision else None
    return {
        "revision": revision.strip() if revision else None,
        "uncommitted": digest_bytes(changes.encode()) if changes else None,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
