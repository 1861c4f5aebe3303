"""The prediction log: nothing is lost that is not counted, and nothing is there twice (P8, F43)."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import DefinitionError
from carrara.core.identity import new_ids
from carrara.data.ingest import ingest_rows
from carrara.metadata.prediction_losses import list_losses
from carrara.monitoring.journal import Journal, abandoned, read_segment, segments
from carrara.monitoring.logged_predictions import LoggedPredictions
from carrara.monitoring.prediction_log import PredictionLog, journals, read_log, scan_log
from carrara.monitoring.sampling import Sampling
from carrara.storage.stores import Stores

AT = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)

CHILD = """
import sys
import time
from carrara.core.identity import new_ids
from carrara.monitoring.prediction_log import PredictionLog
from carrara import Workspace
sys.path.insert(0, sys.argv[2])
from monitoring.test_prediction_log import predictions

log = PredictionLog(Workspace(sys.argv[1]).stores, flush_seconds=0.05, ship_seconds=0.2)
while True:
    log.append(predictions(20))
    if log.written > 500:
        print("going", flush=True)
"""


def predictions(rows: int, *, ids: list[str] | None = None, score: float = 0.5, model: str = "m") -> LoggedPredictions:
    return LoggedPredictions(
        model=model,
        version=1,
        ids=ids or new_ids(rows),
        event_times=np.full(rows, AT, np.int64),
        keys={"driver": np.array(["d1"] * rows, object)},
        request={"distance": np.full(rows, 3.0)},
        features={"trip:far": np.linspace(0, 1, rows)},
        outputs={"probability": np.full(rows, score)},
    )


@pytest.fixture
def stores(fresh) -> Stores:
    return fresh.stores


def test_a_prediction_is_logged_with_its_features_and_how_it_was_answered(stores):
    log = PredictionLog(stores)
    log.append(predictions(3))
    log.close()
    rows = read_log(stores, "m")
    assert rows.height == 3
    assert sorted(rows["trip:far"]) == [0.0, 0.5, 1.0]
    assert set(rows.columns) >= {"prediction_id", "logged_at", "version", "endpoint", "arm", "latency_seconds"}
    assert not list(journals(stores).iterdir())


def test_an_id_that_is_logged_again_counts_once(stores):
    ids = new_ids(4)
    for _ in range(2):
        log = PredictionLog(stores)
        log.append(predictions(4, ids=ids))
        log.close()
    assert scan_log(stores, "m").collect().height == 8
    assert read_log(stores, "m").height == 4


def test_a_killed_process_loses_at_most_what_is_counted(fresh, stores):
    command = [sys.executable, "-c", CHILD, str(fresh.root), str(Path(__file__).parents[1])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    (folder,) = journals(stores).glob("[!.]*")
    taken = int.from_bytes((folder / "counts").read_bytes()[:8], "little")
    PredictionLog(stores).close()
    logged = scan_log(stores, "m").collect().height
    lost = sum(loss.rows for loss in list_losses(stores.metadata))
    assert logged >= 500
    assert logged + lost == taken
    assert not list(journals(stores).iterdir())


def test_a_lake_that_is_away_is_caught_up_with_and_serving_goes_on(stores, monkeypatch):
    lake = stores.root / ".carrara" / "lake"
    lake.parent.mkdir(exist_ok=True)
    shutil.rmtree(lake, ignore_errors=True)
    lake.write_text("a file where the folder was")
    log = PredictionLog(stores, flush_seconds=0.01, ship_seconds=0.01)
    log.append(predictions(5))
    log.close()
    assert log.error is not None
    assert log.dropped == 0
    lake.unlink()
    PredictionLog(stores).close()
    assert read_log(stores, "m").height == 5
    assert list_losses(stores.metadata) == []


def test_no_lake_is_made_in_the_place_of_one_that_is_away(stores):
    """Rows in it would be hidden once the lake is back; who starts while it is away does not know it either."""
    rows = pl.DataFrame({"x": [1.0]})
    ingest_rows(stores, "d", rows, source={"kind": "rows"}, made_from=[])
    lake, aside = stores.root / ".carrara" / "lake", stores.root / "aside"
    lake.rename(aside)
    for _ in range(2):
        log = PredictionLog(stores, flush_seconds=0.01, ship_seconds=0.01)
        log.append(predictions(5))
        log.close()
        assert "the lake is away" in str(log.error)
        assert not lake.exists()
    aside.rename(lake)
    PredictionLog(stores).close()
    assert scan_log(stores, "m").collect().height == 10


def test_a_full_disk_drops_and_counts_and_is_gone_on_from(stores):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = PredictionLog(stores, flush_seconds=0.01, ship_seconds=60.0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        log.append(predictions(2_000))
        while log.error is None:
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    log.append(predictions(7, score=0.9))
    log.close()
    assert read_log(stores, "m").height == 2_007
    assert log.dropped == 0


def test_a_torn_record_ends_its_segment(tmp_path):
    journal = Journal(tmp_path)
    journal.append("t", 1, b"first", of=1)
    journal.append("t", 1, b"second", of=1)
    journal.close()
    (segment,) = segments(journal.folder)
    for cut in (1, 8, 20):
        torn = tmp_path / "torn"
        torn.write_bytes(segment.read_bytes()[:-cut])
        assert [record.data for record in read_segment(torn)] == [b"first"]
    damaged = bytearray(segment.read_bytes())
    damaged[-1] ^= 1
    torn.write_bytes(damaged)
    assert [record.data for record in read_segment(torn)] == [b"first"]


def test_a_journal_of_a_living_process_is_not_abandoned(tmp_path):
    journal = Journal(tmp_path)
    assert list(abandoned(tmp_path)) == []
    journal.close()
    assert [found.folder for found in abandoned(tmp_path)] == [journal.folder]


def test_a_rate_draws_about_its_share_and_always_the_same_ids(stores):
    batch = predictions(10_000)
    for _ in range(2):
        log = PredictionLog(stores, sampling=lambda model: Sampling(0.1))
        log.append(batch)
        log.close()
    assert 850 < read_log(stores, "m").height < 1_150
    assert log.skipped + log.written == 10_000


def test_a_rule_keeps_what_the_rate_leaves_out_and_says_so(stores):
    log = PredictionLog(stores, sampling=lambda model: Sampling(0.0, always="\"trip:far\" > 0.5 AND driver = 'd1'"))
    log.append(predictions(101))
    log.close()
    rows = read_log(stores, "m")
    assert rows.height == 50
    assert set(rows["sampled"]) == {"rule"}


def test_a_rule_that_names_no_column_stops_nothing(stores):
    log = PredictionLog(stores, sampling=lambda model: Sampling(1.0, always="nowhere > 1"))
    log.append(predictions(3))
    log.close()
    assert read_log(stores, "m").height == 3
    with pytest.raises(DefinitionError, match="SQL condition"):
        Sampling(always="what > > ?")


def test_predictions_of_several_models_and_columns_go_their_ways(stores):
    log = PredictionLog(stores, flush_seconds=0.05)
    for model in ("a", "b", "a"):
        log.append(predictions(2, model=model))
    log.close()
    assert read_log(stores, "a").height == 4
    assert read_log(stores, "b")["driver"].dtype == pl.String


def test_batches_of_one_row_and_of_many_are_logged_as_they_were(stores):
    """Small batches are joined by their bytes, others by NumPy: of either the values, types and order are the same."""
    steps = np.arange(10.0)[::2]
    of_type = {
        "trip:far": lambda n: np.array([np.nan if n == 2 else n], np.float64),
        "trip:count": lambda n: np.array([n], np.int64 if n % 2 else np.float64),
        "trip:near": lambda n: steps[n % 5 : n % 5 + 1].astype(np.float32),
        "trip:city": lambda n: np.array(["Ulm"], object),
    }
    log = PredictionLog(stores, flush_seconds=60.0)
    for n in range(6):
        log.append(replace(predictions(1, ids=[f"p{n}"]), features={name: of(n) for name, of in of_type.items()}))
    wide = {name: np.concatenate([of(6), of(7)]) for name, of in of_type.items()}
    log.append(replace(predictions(2, ids=["p6", "p7"]), features=wide), arm="canary")
    log.close()
    rows = read_log(stores, "m").sort("prediction_id")
    assert rows["trip:far"].to_list() == [0, 1, None, 3, 4, 5, 6, 7]
    assert rows["trip:count"].to_list() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert rows["trip:near"].to_list() == [0, 2, 4, 6, 8, 0, 2, 4]
    assert rows["arm"].to_list() == [""] * 6 + ["canary"] * 2
    assert set(rows["trip:city"]) == {"Ulm"}


def test_a_burst_of_single_predictions_is_written_while_it_comes(stores):
    log = PredictionLog(stores, flush_seconds=60.0)
    for _ in range(30_000):
        log.append(predictions(1, ids=["p"]))
        if len(log._waiting) > 15_000:
            time.sleep(0.001)
    log.close()
    assert (log.written, log.dropped) == (30_000, 0)
