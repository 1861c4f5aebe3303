"""XGBoost: gradient-boosted trees (Chen and Guestrin, 2016)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from carrara.core.errors import TrainingError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.models.learned.xgboost import read
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Fitted, Part, Task, started
from carrara.training.trainers.device import check_device, described, xgboost_device
from carrara.training.trainers.forest_graph import forest_graph
from carrara.training.trainers.trees import Rounds, edge_rows
from carrara.training.trainers.xgboost_collective import communicator
from carrara.training.trainers.xgboost_data import quantised

_OBJECTIVES: Mapping[str, Mapping[str, Any]] = {
    "binary": {"objective": "binary:logistic", "eval_metric": "logloss"},
    "multiclass": {"objective": "multi:softprob", "eval_metric": "mlogloss"},
    "regression": {"objective": "reg:squarederror", "eval_metric": "rmse"},
    "multilabel": {"objective": "binary:logistic", "eval_metric": "logloss"},
    # An item's gain is its relevance, as in our metric, and not 2^relevance - 1.
    "ranking": {"objective": "rank:ndcg", "eval_metric": "ndcg", "ndcg_exp_gain": False},
}


@dataclass(frozen=True)
class XGBoost:
    """Gradient-boosted trees, for labels of any kind; items are ranked by LambdaMART (Burges, 2010) on NDCG.

    `trees` is the most that are grown (of several classes or labels: for each); growing stops when the validation loss
    (of a ranking 1 - NDCG) has not fallen for `early_stopping` trees. `row_share` and `column_share` are sampled for
    each tree. `device` is "auto", an NVIDIA card where there is one and the build can use it, "cpu", "cuda" or
    "cuda:1".
    """

    trees: int = 500
    depth: int = 6
    learning_rate: float = 0.1
    row_share: float = 1.0
    column_share: float = 1.0
    min_child_weight: float = 1.0
    l2: float = 1.0
    early_stopping: int = 30
    device: str = "auto"

    name = "xgboost"
    distributed: ClassVar[bool] = True
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "multilabel", "ranking")
    space: ClassVar[Mapping[str, Space]] = {
        "depth": Between(2, 10),
        "learning_rate": Between(0.01, 0.3, log=True),
        "row_share": Between(0.5, 1.0),
        "column_share": Between(0.4, 1.0),
        "min_child_weight": Between(0.5, 50.0, log=True),
        "l2": Between(0.01, 100.0, log=True),
    }

    def __post_init__(self) -> None:
        check_device(self.device)

    def spec(self) -> dict[str, Any]:
        found = asdict(self)
        # What was trained before there were accelerators keeps its digest.
        return {name: value for name, value in found.items() if name != "device" or value != "auto"}

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        xgboost = require("xgboost", extra="xgboost", purpose="the trainer 'xgboost'")
        rounds = Rounds(task, self.trees, self.early_stopping)
        booster = self._grown(xgboost, train, validation, task, rounds)
        saved = bytes(booster.save_raw("json"))
        return Fitted(
            predict=lambda rows: np.asarray(booster.inplace_predict(rows)),
            to_onnx=lambda: forest_graph(read(saved), task.kind, len(task.names)),
            format="xgboost",
            native={"model.ubj": bytes(booster.save_raw("ubj"))},
            edges=edge_rows(_thresholds(saved), validation.features, missing=True),
            learned={"learned.json": saved},
            importance=gain_shares(booster, task.names),
            curve=rounds.curve,
            summary={**summary_of(booster, saved), **rounds.summary(self.row_share < 1 or self.column_share < 1)},
            libraries=("xgboost-cpu", "xgboost", "onnx"),
        )

    def join(self, train: Part, validation: Part, task: Task) -> None:
        xgboost = require("xgboost", extra="xgboost", purpose="the trainer 'xgboost'")
        if task.kind == "ranking":
            raise TrainingError("a ranking is learned in one process", hint="Train without --workers.")
        rounds = Rounds(task, self.trees, self.early_stopping)
        with communicator() as share, tempfile.TemporaryDirectory(prefix="quantised-") as folder:
            # The data are let go of before their files are.
            parts = share(train), share(validation)
            grown = self._boosted(xgboost, *quantised(xgboost, *parts, Path(folder)), task, rounds)
            rounds.keep(bytes(grown.save_raw("ubj")))

    def _grown(self, xgboost: Any, train: Part, validation: Part, task: Task, rounds: Rounds) -> Any:
        """The booster up to its best tree."""
        if rounds.model is not None and not rounds.left:
            return self._best(_before(xgboost, task), xgboost.Booster(model_file=bytearray(rounds.model)), rounds)
        with tempfile.TemporaryDirectory(dir=task.folder, prefix="quantised-") as folder:
            # The data are let go of before their files are.
            booster = self._boosted(xgboost, *quantised(xgboost, train, validation, Path(folder)), task, rounds)
            return self._best(_before(xgboost, task), booster, rounds)

    def _boosted(self, xgboost: Any, data: Any, held: Any, task: Task, rounds: Rounds) -> Any:
        before = _before(xgboost, task)
        grown = before if rounds.model is None else xgboost.Booster(model_file=bytearray(rounds.model))
        device = xgboost_device(xgboost, self.device)
        task.computed(described(device))
        booster = xgboost.train(
            {**self._parameters(task), **({"device": device} if device != "cpu" else {})},
            data,
            num_boost_round=rounds.left,
            evals=[(data, "train"), (held, "validation")],
            callbacks=[_watched(xgboost, rounds, task)],
            verbose_eval=False,
            xgb_model=grown,
        )
        if device != "cpu":
            # What is exported and proved is computed as it will be served.
            booster.set_param({"device": "cpu"})
        return booster

    def _best(self, before: Any, booster: Any, rounds: Rounds) -> Any:
        return booster[: rounds.best + (before.num_boosted_rounds() if before is not None else 0)]

    def _parameters(self, task: Task) -> dict[str, Any]:
        return {
            **_OBJECTIVES[task.kind],
            **({"num_class": len(task.classes)} if task.kind == "multiclass" else {}),
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "subsample": self.row_share,
            "colsample_bytree": self.column_share,
            "min_child_weight": self.min_child_weight,
            "reg_lambda": self.l2,
            "seed": task.seed,
        }


def _before(xgboost: Any, task: Task) -> Any:
    """The booster of the version that is gone on with."""
    if not task.start:
        return None
    booster = xgboost.Booster(model_file=bytearray(started(task, "learned.json")))
    if booster.num_features() != len(task.names):
        raise TrainingError(
            f"the version to go on from has {booster.num_features()} columns, and {len(task.names)} are"
        )
    return booster


def _watched(xgboost: Any, rounds: Rounds, task: Task) -> Any:
    class Watched(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            train, validation = (next(iter(evals_log[part].values()))[-1] for part in ("train", "validation"))
            if task.kind == "ranking":
                train, validation = 1 - train, 1 - validation
            return rounds.ended(train, validation, lambda: bytes(model.save_raw("ubj")))

    return Watched()


def gain_shares(booster: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Each column's share of the gain of all splits."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    own = booster.feature_names or [f"f{place}" for place in range(len(names))]
    return {name: float(gains.get(known, 0.0)) / total for name, known in zip(names, own, strict=True)}


def _trees(saved: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(saved)["learner"]["gradient_booster"]["model"]["trees"]
    return found


def _thresholds(saved: bytes) -> Iterator[tuple[int, float]]:
    for tree in _trees(saved):
        splits = zip(tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True)
        yield from ((column, threshold) for left, column, threshold in splits if left != -1)


def summary_of(booster: Any, saved: bytes) -> dict[str, Any]:
    """What a record tells of a booster, which is also `saved` as JSON."""
    config: Mapping[str, Any] = msgspec.json.decode(booster.save_config())
    trees = _trees(saved)
    return {
        "trees": len(trees),
        "leaves": sum(1 for tree in trees for left in tree["left_children"] if left == -1),
        "base_score": config["learner"]["learner_model_param"]["base_score"],
    }
