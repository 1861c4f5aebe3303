"""Carrara: statistics and schema of the reference, then the current sample validated against both.

python carrara_peer.py REFERENCE CURRENT OUTPUT. All settings are as by default.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import polars as pl

from carrara.data.schema_inference import infer_schema
from carrara.data.statistics import profile
from carrara.data.validation import Baselines, examine, validate


def main(reference: Path, current: Path, output: Path) -> None:
    started = time.perf_counter()
    before = profile(pl.scan_parquet(reference))
    reference_seconds = time.perf_counter() - started
    schema = infer_schema(before)
    now = examine(pl.scan_parquet(current), schema)
    anomalies = validate(now, schema, Baselines(previous=before, rows=before.rows))
    seconds = time.perf_counter() - started

    result = {
        "version": version("carrara"),
        "seconds": seconds,
        "reference_seconds": reference_seconds,
        "found": [[anomaly.column, f"{anomaly.kind}: {anomaly.message}"] for anomaly in anomalies],
    }
    output.write_text(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
