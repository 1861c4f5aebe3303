"""What every benchmark beside peers needs: environments of their own, processes that are watched, tables to read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Peer:
    """A system: its script, and what its environment holds (nothing: it runs in this one)."""

    script: str
    requirements: tuple[str, ...] = ()


def environment(name: str, peer: Peer, work: Path) -> Path:
    """The interpreter of a peer; its environment is made once, and again when its requirements change."""
    requirements = peer.requirements
    if not requirements:
        return Path(sys.executable)
    folder = work / "environments" / name
    python, made_of = folder / "bin" / "python", folder / "requirements.txt"
    if made_of.exists() and made_of.read_text().split("\n") == list(requirements):
        return python
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True, text=True)
    installer = [uv, "pip", "install", "--python", python] if uv.exists() else [python, "-m", "pip", "install"]
    subprocess.run([*installer, *requirements], check=True, capture_output=True, text=True, env=_installer_variables())
    made_of.write_text("\n".join(requirements))
    return python


def _installer_variables() -> dict[str, str]:
    """This process's variables, with those that pip reads also under uv's names."""
    same = {
        "PIP_FIND_LINKS": "UV_FIND_LINKS",
        "PIP_INDEX_URL": "UV_INDEX_URL",
        "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    }
    return {**os.environ, **{uv: os.environ[pip] for pip, uv in same.items() if pip in os.environ}}


def watched(command: list[str]) -> tuple[int, int, str]:
    """A command's exit status, the peak of its and its children's resident bytes, and what it said."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        ended, peak = threading.Event(), 0

        def watch() -> None:
            nonlocal peak
            while not ended.wait(POLL_SECONDS):
                resident = [_status(pid) for pid in _tree(process.pid)]
                peak = max([peak, sum(now for now, _ in resident), *(most for _, most in resident)])

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        ended.set()
        watcher.join()
        said.seek(0)
        return code, peak, said.read()


def _tree(pid: int) -> Iterable[int]:
    yield pid
    try:
        children = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for child in " ".join(children).split():
        yield from _tree(int(child))


def _status(pid: int) -> tuple[int, int]:
    """The resident bytes of a process, now and at most."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    kilobytes = {key: value.split()[0] for key, _, value in (line.partition(":") for line in lines) if value.strip()}
    return int(kilobytes.get("VmRSS", 0)) * 1024, int(kilobytes.get("VmHWM", 0)) * 1024


def table(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    ]


def last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])
