"""Logs a model by the real MLflow at a tracking server, in a process of its own: prints its run, its id and answers."""

from __future__ import annotations

import json
import sys

import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature

mlflow.set_tracking_uri(sys.argv[1])
random = np.random.default_rng(0)
rows = pd.DataFrame({"age": random.integers(18, 80, 200).astype(float), "income": random.normal(50, 15, 200)})
model = xgboost.XGBClassifier(n_estimators=6, max_depth=2).fit(rows, (rows.income > 45).astype(int))
answers = model.predict_proba(rows.head(20))[:, 1]
mlflow.set_experiment("churn")
with mlflow.start_run(run_name="by the server") as run:
    mlflow.log_params({"max_depth": 2})
    mlflow.log_metric("accuracy", 0.5)
    mlflow.log_metric("accuracy", 0.9)
    mlflow.set_tags({"market": "eu", "mlflow.user": "ann"})
    logged = mlflow.xgboost.log_model(
        model,
        name="model",
        model_format="ubj",
        signature=infer_signature(rows, answers),
        input_example=rows.head(2),
        registered_model_name="churn",
    )
mlflow.MlflowClient().set_registered_model_alias("churn", "champion", "1")
told = {"run": run.info.run_id, "model": logged.model_id, "rows": rows.head(20).to_dict("records")}
print(json.dumps({**told, "answers": answers.tolist()}))
