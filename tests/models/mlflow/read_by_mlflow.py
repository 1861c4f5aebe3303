"""What the real MLflow finds at a tracking server: a process of its own, which reads {"registered", "rows"} as JSON."""

from __future__ import annotations

import json
import sys
import warnings

import mlflow
import pandas as pd

warnings.simplefilter("ignore")
mlflow.set_tracking_uri(sys.argv[1])
asked = json.loads(sys.stdin.read())
client = mlflow.MlflowClient()
_, _, path = asked["registered"].partition(":/")
name, _, number = path.partition("/")
version = client.get_model_version(name, number)
run = client.get_run(version.run_id)


def files(path: str = "") -> list[str]:
    found = []
    for one in client.list_artifacts(run.info.run_id, path or None):
        found += files(one.path) if one.is_dir else [one.path]
    return found


curves = [key for key in run.data.metrics if key.startswith("curve.")]
answers = mlflow.pyfunc.load_model(asked["registered"]).predict(pd.DataFrame(asked["rows"]))
told = {
    "experiment": client.get_experiment(run.info.experiment_id).name,
    "status": run.info.status,
    "run_name": run.info.run_name,
    "params": run.data.params,
    "metrics": run.data.metrics,
    "tags": run.data.tags,
    "description": version.description,
    "inputs": [one.dataset.name for one in run.inputs.dataset_inputs],
    "artifacts": files(),
    "history": [one.value for one in client.get_metric_history(run.info.run_id, curves[0])] if curves else [],
    "answers": answers["probability"].tolist(),
}
print(json.dumps(told))
