"""One fit: python fit.py TRAINER hand|carrara DATA OUTPUT."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

TREES, EPOCHS, BATCH = 100, 3, 1_024


def by_hand(trainer: str, train: pl.DataFrame, held: pl.DataFrame) -> Any:
    """As a person would write it, who keeps to float32."""
    names = [name for name in train.columns if name.startswith("v:")]
    x, y = train.select(names).to_numpy(), train["label"].to_numpy().astype(np.float32)
    a, b = held.select(names).to_numpy(), held["label"].to_numpy().astype(np.float32)
    if trainer == "xgboost":
        import xgboost

        data = xgboost.QuantileDMatrix(x, y)
        check = xgboost.QuantileDMatrix(a, b, ref=data)
        parameters = {"objective": "binary:logistic", "eval_metric": "logloss", "max_depth": 6, "learning_rate": 0.1}
        watched = [(data, "train"), (check, "validation")]
        return xgboost.train(parameters, data, TREES, evals=watched, verbose_eval=False)
    if trainer == "lightgbm":
        import lightgbm

        data = lightgbm.Dataset(x, y)
        parameters = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "deterministic": True}
        parameters |= {"force_row_wise": True}
        sets = [data, data.create_valid(a, b)]
        return lightgbm.train(parameters, data, TREES, valid_sets=sets, callbacks=[lightgbm.record_evaluation({})])
    if trainer == "linear":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1_000).fit(x.astype(np.float64), y)
    return _net_by_hand(x, y, a, b)


def _net_by_hand(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> Any:
    import torch

    layers = [torch.nn.Linear(x.shape[1], 128), torch.nn.ReLU(), torch.nn.Dropout(0.1)]
    layers += [torch.nn.Linear(128, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 1)]
    net = torch.nn.Sequential(*layers)
    optimiser, loss = torch.optim.AdamW(net.parameters(), 0.001), torch.nn.BCEWithLogitsLoss()
    rows, truth = torch.from_numpy(x), torch.from_numpy(y)
    held, known = torch.from_numpy(a), torch.from_numpy(b)
    for _ in range(EPOCHS):
        net.train()
        for part in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            loss(net(rows[part])[:, 0], truth[part]).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            float(loss(net(rows)[:, 0], truth)), float(loss(net(held)[:, 0], known))
    return net


def by_carrara(trainer: str, train: pl.DataFrame, held: pl.DataFrame) -> Any:
    import carrara
    from carrara.training.fit import fit_model

    trainers = {
        "xgboost": lambda: carrara.XGBoost(trees=TREES, early_stopping=TREES),
        "lightgbm": lambda: carrara.LightGBM(trees=TREES, early_stopping=TREES),
        "linear": carrara.Linear,
        "torch": lambda: carrara.Torch(epochs=EPOCHS, batch_rows=BATCH, early_stopping=EPOCHS),
    }
    names = tuple(name for name in train.columns if name.startswith("v:"))
    label = carrara.Label(dataset="rows", column="label", time="at")
    split = carrara.TimeSplit(validation_from="2024-01-02", test_from="2024-01-03")
    model = carrara.Model("m", features=names, label=label, split=split, trainer=trainers[trainer]())
    made = fit_model(model, names, {"train": train, "validation": held})
    assert made.format == "onnx", made.export
    return made


if __name__ == "__main__":
    trainer, how, data, output = sys.argv[1:]
    rows = pl.read_parquet(data)
    cut = int(rows.height * 0.9)
    # What is imported once is no part of a fit.
    library = {"linear": "sklearn.linear_model"}.get(trainer, trainer)
    ours = ("carrara.training.fit", f"carrara.training.trainers.{trainer}", "onnx", "onnxruntime")
    for name in (library, *(ours if how == "carrara" else ())):
        importlib.import_module(name)
    started = time.perf_counter()
    (by_hand if how == "hand" else by_carrara)(trainer, rows[:cut], rows[cut:])
    Path(output).write_text(json.dumps({"seconds": time.perf_counter() - started}))
