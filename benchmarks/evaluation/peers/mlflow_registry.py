"""MLflow registers versions with these parameters and metrics in SQLite; prints the median seconds of one."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

TURNS = 40


def main(parameters: dict[str, float], metrics: dict[str, float]) -> None:
    uri = "sqlite:///mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.create_experiment("bench", artifact_location=str(Path("artifacts").absolute()))
    client.create_registered_model("bench")
    model = Path("model.onnx")
    model.write_bytes(b"x" * 300)
    times = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        run = client.create_run(experiment)
        now = int(time.time() * 1_000)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )
        client.log_artifact(run.info.run_id, str(model))
        client.create_model_version("bench", f"{run.info.artifact_uri}/model.onnx", run.info.run_id)
        client.set_terminated(run.info.run_id)
        times.append(time.perf_counter() - begun)
    print(statistics.median(times[5:]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
