"""MLflow: its XGBoost flavour behind its scoring server, one worker. mlflow_peer.py FOLDER PORT"""

import os
import shutil
import sys
from pathlib import Path

import mlflow.xgboost
import xgboost

folder, port = Path(sys.argv[1]), sys.argv[2]
booster = xgboost.Booster(model_file=folder / "model.json")
shutil.rmtree(folder / "mlflow", ignore_errors=True)
mlflow.xgboost.save_model(booster, folder / "mlflow")
programs = Path(sys.executable).parent
os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"  # it calls uvicorn by its name
mlflow = str(programs / "mlflow")
command = [mlflow, "models", "serve", "-m", str(folder / "mlflow"), "-p", port, "-h", "127.0.0.1"]
os.execv(mlflow, [*command, "--env-manager", "local", "--workers", "1"])
