"""Evidently's drift of the same tables, in an environment of its own: python evidently_peer.py FOLDER"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

folder = Path(sys.argv[1])
began = time.perf_counter()
current, reference = (pd.read_parquet(folder / name) for name in ("window", "training.parquet"))
names = [name for name in reference.columns if name.startswith("view:")]
definition = DataDefinition(numerical_columns=names)
sides = [Dataset.from_pandas(frame[names], data_definition=definition) for frame in (current, reference)]
found = Report([DataDriftPreset(method="psi")]).run(*sides).dict()
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "moved": found["metrics"][0]["value"]["count"]}))
