"""F48, scaled: at a high rate for long, memory, descriptors, threads and files of the prediction log stay flat.

CARRARA_SOAK_SECONDS says for how long; the promise is for 1,800.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from test_prediction_log import predictions

from carrara.monitoring.prediction_log import PredictionLog, journals, scan_log

SECONDS = float(os.environ.get("CARRARA_SOAK_SECONDS", "45"))


def state(root: Path) -> dict[str, int]:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "bytes": resident,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "files": sum(1 for _ in root.rglob("*")),
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_log_at_a_high_rate_stays_flat(fresh):
    log = PredictionLog(fresh.stores)
    began, sent, warm = time.monotonic(), 0, None
    batch = [predictions(200) for _ in range(20)]
    while time.monotonic() - began < SECONDS:
        for one in batch:
            log.append(one)
        sent += 4_000
        time.sleep(0.2)
        if warm is None and time.monotonic() - began > SECONDS / 3:
            warm = state(journals(fresh.stores))
    end = state(journals(fresh.stores))
    log.close()
    assert warm is not None
    assert end["descriptors"] <= warm["descriptors"] + 3
    assert end["threads"] <= warm["threads"]
    assert end["files"] <= warm["files"] + 3
    assert end["bytes"] < warm["bytes"] * 1.25 + (64 << 20)
    assert log.dropped == 0
    assert log.written == sent
    assert scan_log(fresh.stores, "m").collect().height == sent
    assert not list(journals(fresh.stores).iterdir())
