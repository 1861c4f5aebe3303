"""How many cores a process of a fit has."""

from __future__ import annotations

import os


def cores() -> int:
    """As many as OMP_NUM_THREADS says, as Ray does, or its share of those of this machine."""
    if given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]:
        return max(1, int(given))
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
