"""What the real MLflow answers: a process of its own, which reads {"folder", "rows", "dtypes"} as JSON, one a line.

It writes a line for each: the flavors that open, and the answers of `mlflow.pyfunc` by output.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd


def plain(values: pd.Series) -> list:
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


warnings.simplefilter("ignore")
for line in sys.stdin:
    asked = json.loads(line)
    model = mlflow.pyfunc.load_model(asked["folder"])
    rows = pd.DataFrame(asked["rows"])
    answers = model.predict(rows.astype(asked.get("dtypes", {})))
    opened = {}
    for flavor in sorted(set(model.metadata.flavors) - {"python_function"}):
        found = importlib.import_module(f"mlflow.{flavor}").load_model(asked["folder"])
        opened[flavor] = type(found).__name__
    told = {name: plain(answers[name]) for name in answers}
    print(json.dumps({"flavors": opened, "answers": told, "index": list(answers.index)}), flush=True)
