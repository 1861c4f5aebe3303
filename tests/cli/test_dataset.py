"""`carrara dataset` as it is typed: on a file of every kind of anomaly, from ingest to report."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from commands import carrara

ROWS = 2_000


def trips(seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "trip_id": np.arange(ROWS) + seed * ROWS,
            "at": [start + timedelta(minutes=n) for n in range(ROWS)],
            "amount": random.lognormal(3, 0.5, ROWS),
            "distance": random.gamma(3, 4, ROWS),
            "carrier": random.choice(["AA", "UA"], ROWS),
            "seats": random.integers(1, 300, ROWS),
            "late": random.random(ROWS) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A workspace with a good file and a bad one; its one dataset `trips` holds the good one."""
    made = tmp_path_factory.mktemp("workspace")
    (made / "carrara.toml").write_text("")
    trips(0).write_csv(made / "good.csv")
    bad = trips(1).with_columns(
        pl.col("distance") * 1_000,
        pl.lit("many").alias("seats"),
        amount=pl.when(pl.int_range(pl.len()) == 3).then(-1.0).otherwise("amount"),
        carrier=pl.when(pl.int_range(pl.len()) % 50 == 0).then(pl.lit("ZZ")).otherwise("carrier"),
    )
    bad.write_csv(made / "bad.csv")
    run(made, "ingest", "trips", "--from", "good.csv")
    run(made, "schema", "infer", "trips")
    return made


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = carrara("dataset", *arguments, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def answer(folder: Path, *arguments: str, code: int = 0) -> dict:
    return json.loads(run(folder, *arguments, "--json", code=code).stdout)


def test_a_good_file_has_no_anomalies(folder):
    assert answer(folder, "validate", "trips") == {"dataset": "trips", "anomalies": []}
    assert "no anomalies" in run(folder, "validate", "trips", "--data", "good.csv").stdout


def test_a_bad_file_stops_with_exit_code_3_and_names_everything(folder):
    found = answer(folder, "validate", "trips", "--data", "bad.csv", code=3)["anomalies"]
    assert {(a["column"], a["kind"], a["severity"]) for a in found} == {
        ("seats", "type change", "stop"),
        ("distance", "unit change", "stop"),
        ("amount", "out of range", "warn"),
        ("carrier", "new categories", "warn"),
    }
    assert all({"column", "kind", "severity", "share", "message", "fix"} <= anomaly.keys() for anomaly in found)
    said = run(folder, "validate", "trips", "--data", "bad.csv", code=3).stdout
    assert "× 1,000" in said
    assert "carrara dataset schema diff trips" in said


def test_a_bad_file_is_not_ingested_and_the_last_good_version_stays(folder):
    done = run(folder, "ingest", "trips", "--from", "bad.csv", code=3)
    assert "the last good version stays in use" in done.stderr
    assert [v["version"] for v in answer(folder, "versions", "trips")] == [1]


def test_the_schema_is_shown_proposed_and_updated(folder):
    assert answer(folder, "schema", "show", "trips")["columns"]["carrier"]["categories"] == ["AA", "UA"]
    changes = run(folder, "schema", "diff", "trips", "--data", "bad.csv").stdout
    assert '+categories = ["AA", "UA", "ZZ"]' in changes
    assert changes.startswith("--- a/schemas/trips.toml\n+++ b/schemas/trips.toml\n")
    before = (folder / "schemas/trips.toml").read_text()
    run(folder, "schema", "update", "trips", "--data", "bad.csv")
    left = answer(folder, "validate", "trips", "--data", "bad.csv")["anomalies"]
    assert [a["kind"] for a in left] == ["unit change"]
    (folder / "schemas/trips.toml").write_text(before)


def test_the_proposed_diff_is_one_that_git_applies(folder, tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/trips.toml").write_text((folder / "schemas/trips.toml").read_text())
    changes = run(folder, "schema", "diff", "trips", "--data", "bad.csv").stdout
    applied = subprocess.run(["git", "apply", "-"], input=changes, text=True, cwd=tmp_path, capture_output=True)
    assert applied.returncode == 0, applied.stderr
    assert '"ZZ"' in (tmp_path / "schemas/trips.toml").read_text()


def test_statistics_are_told_whole_by_slices_and_against_a_label(folder):
    found = answer(folder, "stats", "trips", "amount", "carrier", "--slice", "late")
    assert list(found["columns"]) == ["amount", "carrier"]
    assert set(found["slices"]) == {"late=true", "late=false"}
    assert sum(found["columns"]["amount"]["histogram"]["counts"]) == ROWS
    assert "amount" in run(folder, "stats", "trips").stdout
    association = answer(folder, "stats", "trips", "--label", "late")
    assert {one["column"] for one in association["columns"]} == {
        "trip_id",
        "at",
        "amount",
        "distance",
        "carrier",
        "seats",
    }
    assert "Did you mean 'amount'" in run(folder, "stats", "trips", "amuont", code=1).stderr


def test_two_versions_are_compared_and_reported_side_by_side(folder, tmp_path):
    subprocess.run(["cp", "-r", f"{folder}/.", str(tmp_path)], check=True)
    run(tmp_path, "ingest", "trips", "--from", "bad.csv", "--accept-schema")
    found = answer(tmp_path, "diff", "trips", "--key", "trip_id")
    assert {c["column"]: c["change"] for c in found["columns"]}["seats"] == "type"
    assert (found["rows"]["added"], found["rows"]["removed"]) == (ROWS, ROWS)
    assert "distance" in run(tmp_path, "diff", "trips").stdout
    page = Path(run(tmp_path, "report", "trips", "--against", "1").stdout.strip())
    assert "trips@2" in page.read_text()
    assert answer(tmp_path, "head", "trips", "--version", "1", "--rows", "1")[0]["seats"] != "many"
    assert answer(tmp_path, "show", "trips", "--as-of", "2100-01-01")["version"] == 2


def test_an_ingest_that_names_no_dataset_or_an_unknown_mode_is_told(folder):
    run(folder, "ingest", "--from", "good.csv", code=2)
    assert "Did you mean 'append'" in run(folder, "ingest", "t", "--from", "good.csv", "--mode", "apend", code=1).stderr
    assert "quarantine" in run(folder, "quarantine", "trips", code=1).stderr
