"""XGBoost: gradient-boosted trees (Chen and Guestrin, 2016), exported to ONNX when the export is equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from carrara.core.plugins import require
from carrara.training.trainers.base import Array, Fitted, Part

_TOLERANCE = 1e-5
_PROOF_ROWS = 20_000


@dataclass(frozen=True)
class XGBoost:
    """Gradient-boosted trees for a binary label.

    `trees` is the most that are grown; growing stops when the validation loss has not fallen for
    `early_stopping` trees. `row_share` and `column_share` are sampled for each tree.
    """

    trees: int = 500
    depth: int = 6
    learning_rate: float = 0.1
    row_share: float = 1.0
    column_share: float = 1.0
    min_child_weight: float = 1.0
    l2: float = 1.0
    early_stopping: int = 30

    name = "xgboost"

    def spec(self) -> dict[str, Any]:
        return asdict(self)

    def fit(
        self,
        train: Part,
        validation: Part,
        names: tuple[str, ...],
        *,
        seed: int,
        advance: Callable[[int, int], None],
    ) -> Fitted:
        xgboost = require("xgboost", extra="xgboost", purpose="the trainer 'xgboost'")
        data = xgboost.QuantileDMatrix(train.features, train.labels)
        held = xgboost.QuantileDMatrix(validation.features, validation.labels, ref=data)
        curve: dict[str, dict[str, list[float]]] = {}
        booster = xgboost.train(
            self._parameters(seed),
            data,
            num_boost_round=self.trees,
            evals=[(data, "train"), (held, "validation")],
            early_stopping_rounds=self.early_stopping,
            evals_result=curve,
            callbacks=[_advancing(xgboost, advance, self.trees)],
            verbose_eval=False,
        )
        booster = booster[: booster.best_iteration + 1]
        exported, proof = _export(booster, validation.features[:_PROOF_ROWS])
        native = bytes(booster.save_raw("ubj"))
        equal = proof["equal"]
        return Fitted(
            format="onnx" if equal else "xgboost",
            files={"model.onnx": exported} if equal else {"model.ubj": native},
            learned={"learned.json": bytes(booster.save_raw("json"))},
            importance=_importance(booster, names),
            curve={part: values["logloss"] for part, values in curve.items()},
            summary={**_summary(booster), "trees_tried": len(curve["train"]["logloss"])},
            export=proof,
            libraries=("xgboost-cpu", "xgboost", "onnx", "onnxmltools"),
        )

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "subsample": self.row_share,
            "colsample_bytree": self.column_share,
            "min_child_weight": self.min_child_weight,
            "reg_lambda": self.l2,
            "seed": seed,
        }


def _advancing(xgboost: Any, advance: Callable[[int, int], None], total: int) -> Any:
    class Advancing(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            advance(epoch + 1, total)
            return False

    return Advancing()


def _export(booster: Any, rows: Array) -> tuple[bytes, dict[str, Any]]:
    """The booster as an ONNX graph from features (rows, n) to probability (rows), and how equal it is."""
    onnx = require("onnx", extra="xgboost", purpose="the export to ONNX")
    onnxmltools = require("onnxmltools", extra="xgboost", purpose="the export to ONNX")
    from onnxmltools.convert.common.data_types import FloatTensorType

    # the converter understands only the names f0, f1, …; ours are in the signature
    booster.feature_names = None
    shape = [None, rows.shape[1]]
    graph = onnxmltools.convert_xgboost(booster, initial_types=[("features", FloatTensorType(shape))])
    _only_probability(onnx, graph)
    exported = bytes(graph.SerializeToString())
    return exported, _proof(booster, exported, rows)


def _only_probability(onnx: Any, graph: Any) -> None:
    """Replace the converter's outputs (a label and two columns) by the probability of the positive class."""
    helper = onnx.helper
    scores = graph.graph.output[1].name
    graph.graph.initializer.append(helper.make_tensor("positive", onnx.TensorProto.INT64, [], [1]))
    graph.graph.node.append(helper.make_node("Gather", [scores, "positive"], ["probability"], axis=1))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, [None]))
    # Gather is of the standard operators, which a converter of trees has no need to import.
    if all(opset.domain for opset in graph.opset_import):
        graph.opset_import.append(helper.make_opsetid("", 13))
    # The converter names a graph at random; equal boosters are to have equal artifacts.
    graph.graph.name = "trees"
    onnx.checker.check_model(graph)


def _proof(booster: Any, exported: bytes, rows: Array) -> dict[str, Any]:
    from carrara.models.runtimes.onnx import session

    expected = booster.inplace_predict(rows)
    (found,) = session(exported).run(["probability"], {"features": rows})
    largest = float(np.max(np.abs(expected - found))) if len(rows) else 0.0
    return {
        "to": "onnx",
        "equal": largest <= _TOLERANCE,
        "rows": len(rows),
        "largest_difference": largest,
        "tolerance": _TOLERANCE,
    }


def _importance(booster: Any, names: tuple[str, ...]) -> dict[str, float]:
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {name: float(gains.get(f"f{place}", 0.0)) / total for place, name in enumerate(names)}


def _summary(booster: Any) -> dict[str, Any]:
    config: Mapping[str, Any] = msgspec.json.decode(booster.save_config())
    trees = msgspec.json.decode(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    return {
        "trees": len(trees),
        "leaves": sum(1 for tree in trees for left in tree["left_children"] if left == -1),
        "base_score": config["learner"]["learner_model_param"]["base_score"],
    }
