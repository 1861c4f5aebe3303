"""Evidently: its summary and its drift of every column, both with the tests that it makes from the reference.

python evidently_peer.py REFERENCE CURRENT OUTPUT

Set beyond the defaults, so that it can find what it is able to find: `include_tests`, without which a report says
figures but not which of them are wrong. The types of the columns and the measure of drift of each are those which it
chooses itself (categories of many values become texts). It stops at the first column that only the current sample
has, and names it: those columns are found on a few rows, outside of the time; the others are then compared in full.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import Dataset, Report
from evidently.core.container import MetricContainer
from evidently.presets import DataDriftPreset, DataSummaryPreset

SAMPLE_ROWS = 300


def partial_columns(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, str]:
    """What it says of each column that it stops at."""
    said: dict[str, str] = {}
    while True:
        try:
            compared(reference, current.drop(columns=said), DataDriftPreset())
            return said
        except ValueError as error:
            named = re.search(r"Column \((.+)\) is partially present", str(error))
            if named is None:
                raise
            said[named[1]] = str(error)


def compared(reference: pd.DataFrame, current: pd.DataFrame, *presets: MetricContainer) -> dict[str, Any]:
    report = Report([*presets], include_tests=True)
    snapshot = report.run(Dataset.from_pandas(current), Dataset.from_pandas(reference))
    return snapshot.dict()


def reported(result: dict[str, Any]) -> list[list[str]]:
    """The tests that failed: [column or "", "Metric: what it said"]."""
    found = []
    for test in result["tests"]:
        if "FAIL" in str(test["status"]) or "ERROR" in str(test["status"]):
            params = test["metric_config"]["params"]
            metric = params["type"].rsplit(":", 1)[-1]
            found.append([params.get("column", ""), f"{metric}: {test['description']}"])
    return found


def main(reference: Path, current: Path, output: Path) -> None:
    few = [pd.read_parquet(path).head(SAMPLE_ROWS) for path in (reference, current)]
    partial = partial_columns(*few)

    started = time.perf_counter()
    before, now = pd.read_parquet(reference), pd.read_parquet(current).drop(columns=partial)
    result = compared(before, now, DataSummaryPreset(), DataDriftPreset())
    seconds = time.perf_counter() - started

    found = [[column, f"ValueError: {said}"] for column, said in partial.items()] + reported(result)
    output.write_text(json.dumps({"version": version("evidently"), "seconds": seconds, "found": found}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*map(Path, sys.argv[1:4]))
