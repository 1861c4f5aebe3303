"""Folders that stores lie in, which may be on a disk that is away."""

from __future__ import annotations

import os
from pathlib import Path


def holds_anything(folder: Path) -> bool:
    """Whether there is a folder, with something in it."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
