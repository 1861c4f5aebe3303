"""How much memory this process and its children take, watched while something runs."""

from __future__ import annotations

import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from carrara.core.errors import ConfigurationError

_SECONDS = 0.2


def bytes_of(text: str) -> int:
    """An amount of memory.

    >>> bytes_of("500MB"), bytes_of("1.5 GB")
    (500000000, 1500000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B", text.strip())
    if found is None:
        raise ConfigurationError(f"'{text}' is not an amount of memory", hint="Write e.g. 500MB or 4GB.")
    return int(float(found[1]) * 1000 ** ["", "k", "M", "G", "T"].index(found[2]))


def resident_bytes() -> int:
    """What this process and all that it has started hold in memory; where the system does not say, the most that this
    process alone ever held."""
    try:
        return sum(_resident(number) for number in _family(os.getpid()))
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class Watch:
    """The most memory that was taken while it was watched, in bytes."""

    def __init__(self) -> None:
        self.most = resident_bytes()


@contextmanager
def watched(seen: Callable[[int], None]) -> Iterator[Watch]:
    """Watch memory while a block runs, and call `seen` with what is taken, several times a second, from a thread."""
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(_SECONDS):
            now = resident_bytes()
            watch.most = max(watch.most, now)
            seen(now)

    thread = threading.Thread(target=look, name="memory-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.most = max(watch.most, resident_bytes())


def _resident(number: int) -> int:
    try:
        pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        if number == os.getpid():
            raise
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _family(number: int) -> Iterator[int]:
    yield number
    try:
        tasks = list(Path(f"/proc/{number}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))
