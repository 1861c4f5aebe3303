"""Batch prediction: what a server answers, as a table whose lineage says from what it was made (M34)."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from carrara.core.errors import CarraraError
from carrara.pipelines.scheduler import run_due
from carrara.workspace.workspace import Workspace
from commands import carrara


@pytest.fixture(scope="module")
def asked(_trained_folder, tmp_path_factory) -> pl.DataFrame:
    """Rows with their times, of which some are asked online too."""
    times = pl.datetime_range(pl.datetime(2024, 1, 18), pl.datetime(2024, 1, 19), "2h", time_zone="UTC", eager=True)
    drivers = pl.Series([f"d{n % 9}" for n in range(len(times))])
    return pl.DataFrame({"driver": drivers, "depot": "p0", "city": "c0", "distance": 80.5, "asked_at": times})


def test_the_rows_of_a_dataset_become_one_whose_lineage_leads_to_model_and_rows(trained, asked):
    trained.datasets.ingest_from("asked", asked)
    done = carrara(
        *("predict", "late@1", "--dataset", "asked", "--into", "scored", "--time", "asked_at"),
        *("--json", "-w", trained.root),
    )
    assert json.loads(done.stdout) == {"rows": asked.height, "dataset": "scored", "version": 1}, done.stderr
    sources = {edge.source for edge in trained.lineage("dataset:scored@1")["upstream"]}
    assert {"model:late@1", "dataset:asked@1"} <= sources
    found = trained.datasets.read("scored").collect()
    assert found["model_version"].to_list() == [1] * asked.height
    again = trained.predict_dataset("late", "asked", "scored", time="asked_at")
    assert (again.reused, again.version.version) == (True, 1)


def test_a_row_is_answered_in_a_batch_as_it_is_by_a_file_and_online(trained, asked, tmp_path):
    """At the moment of the online store, the same features are read offline and online."""
    now = pl.datetime(2024, 1, 20, time_zone="UTC")
    rows = asked.drop("asked_at").with_columns(event_time=now)
    trained.datasets.ingest_from("asked", rows)
    trained.predict_dataset("late@1", "asked", "scored")
    batch = trained.datasets.read("scored").collect()["probability"].to_numpy()
    rows.write_parquet(tmp_path / "rows.parquet")
    assert trained.predict_batch("late@1", tmp_path / "rows.parquet", tmp_path / "out.parquet") == rows.height
    by_file = pl.read_parquet(tmp_path / "out.parquet")["probability"].to_numpy()
    online = trained.predict("late@1", rows.to_dicts()).rows["probability"].to_numpy()
    np.testing.assert_array_equal(batch, by_file)
    np.testing.assert_allclose(batch, online, rtol=1e-6)


def test_a_scheduler_makes_the_next_version_at_its_moments(trained):
    """By the champion, of the newest rows: a declaration, and nothing else to run."""
    file = trained.root / "definitions.py"
    declared = 'carrara.BatchPrediction("scored", model="late", dataset="trips", time="at", schedule="@daily")'
    file.write_text(f"{file.read_text()}\nscored = {declared}\n")
    with Workspace(trained.root) as ws:
        assert ("added", "batch prediction", "scored") in [(c.action, c.kind, c.name) for c in ws.plan().changes]
        (done,) = [one for one in run_due(ws.stores, ws.definitions) if one.name == "scored"]
        trips = ws.datasets.get("trips")
        assert done.error is None
        assert done.said == f"dataset:scored@1 has {trips.rows:,} predictions, by late@1"
        assert not [one for one in run_due(ws.stores, ws.definitions) if one.name == "scored"]
        assert f"dataset:trips@{trips.version}" in {one.source for one in ws.lineage("dataset:scored@1")["upstream"]}
    for wrong in (declared.replace('"trips"', '"tripz"'), declared.replace('"scored"', '"depots"', 1)):
        file.write_text(f"{file.read_text().rpartition(chr(10) + 'scored')[0]}\nscored = {wrong}\n")
        with Workspace(trained.root) as ws, pytest.raises(CarraraError, match=r"tripz|has the name of a dataset"):
            ws.plan()


def test_what_cannot_be_predicted_or_kept_is_named(trained, asked):
    trained.datasets.ingest_from("asked", asked)
    with pytest.raises(CarraraError, match="'trips' is declared"):
        trained.predict_dataset("late@1", "asked", "trips")
    for words in (("--dataset", "asked"), ("--input", "x.csv"), ()):
        assert carrara("predict", "late@1", *words, "-w", trained.root).returncode == 2
    missing = carrara(
        *("predict", "late@1", "--dataset", "nobody", "--into", "scored", "-w", trained.root),
    )
    assert (missing.returncode, "nobody" in missing.stderr) == (1, True)
