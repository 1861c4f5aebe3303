"""Models that the real MLflow has logged (scripts/mlflow-folders), with rows and what it answers to them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

FOLDERS = Path(__file__).parent / "models" / "mlflow_folders"


def expected(name: str) -> tuple[list[dict], list]:
    """Rows, and MLflow's answers to them."""
    told = json.loads((FOLDERS / f"{name}.expected.json").read_text())
    return told["rows"], told["answers"]


def database(folder: Path) -> Path:
    """The SQLite store, as MLflow left it, with the artifacts that it tells of, moved to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(FOLDERS / "stored", folder / "stored")
    path = folder / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.executescript((FOLDERS / "mlflow.sql").read_text())
    connection.close()
    return path
