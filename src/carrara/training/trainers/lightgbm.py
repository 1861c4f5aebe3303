"""LightGBM: gradient-boosted trees, grown leaf by leaf (Ke and others, 2017)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np

from carrara.core.errors import NotFoundError, TrainingError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.models.learned.lightgbm import read
from carrara.training.search import Between, Space
from carrara.training.trainers.base import Fitted, Part, Task, started
from carrara.training.trainers.device import described, missing_device
from carrara.training.trainers.forest_graph import forest_graph
from carrara.training.trainers.ranking import by_query
from carrara.training.trainers.trees import Rounds, edge_rows, float32_at_most

_OBJECTIVES = {
    "binary": {"objective": "binary", "metric": "binary_logloss"},
    "multiclass": {"objective": "multiclass", "metric": "multi_logloss"},
    "regression": {"objective": "regression", "metric": "rmse"},
    "ranking": {"objective": "lambdarank", "metric": "ndcg"},
}

_MOST_RELEVANT = 10_000
_WHOLE_ORDER = 1_000_000_000
"""As many places of an order as no query has items."""


@dataclass(frozen=True)
class LightGBM:
    """Gradient-boosted trees of at most `leaves` leaves, for labels of any kind but several at once; items are ranked
    by LambdaMART on NDCG, with whole numbers as relevances.

    `trees` is the most that are grown (of several classes: for each); growing stops when the validation loss (of a
    ranking 1 - NDCG) has not fallen for `early_stopping` trees. `row_share` and `column_share` are sampled for each
    tree. `device` is "cpu", or "cuda" for a build of LightGBM with it.
    """

    trees: int = 500
    leaves: int = 31
    learning_rate: float = 0.1
    row_share: float = 1.0
    column_share: float = 1.0
    min_leaf_rows: int = 20
    l2: float = 0.0
    early_stopping: int = 30
    device: str = "cpu"

    name = "lightgbm"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "ranking")
    space: ClassVar[Mapping[str, Space]] = {
        "leaves": Between(4, 128, log=True),
        "learning_rate": Between(0.01, 0.3, log=True),
        "row_share": Between(0.5, 1.0),
        "column_share": Between(0.4, 1.0),
        "min_leaf_rows": Between(5, 200, log=True),
        "l2": Between(0.001, 100.0, log=True),
    }

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise NotFoundError("device", self.device, ("cpu", "cuda"))

    def spec(self) -> dict[str, Any]:
        found = asdict(self)
        # What was trained before there were accelerators keeps its digest.
        return {name: value for name, value in found.items() if name != "device" or value != "cpu"}

    def fit(self, train: Part, validation: Part, task: Task) -> Fitted:
        lightgbm = require("lightgbm", extra="lightgbm", purpose="the trainer 'lightgbm'")
        rounds = Rounds(task, self.trees, self.early_stopping)
        text = _in_float32(self._grown(lightgbm, train, validation, task, rounds))
        booster = lightgbm.Booster(model_str=text)
        saved = msgspec.json.encode(booster.dump_model())
        return Fitted(
            predict=lambda rows: np.asarray(booster.predict(rows)),
            to_onnx=lambda: forest_graph(read(text), task.kind, len(task.names)),
            format="lightgbm",
            native={"model.txt": text.encode()},
            edges=edge_rows(_thresholds(saved), validation.features, missing=True),
            learned={"learned.json": saved, "learned.txt": text.encode()},
            importance=gain_shares(booster, task.names),
            curve=rounds.curve,
            summary={"trees": booster.num_trees(), **rounds.summary(self.row_share < 1 or self.column_share < 1)},
            libraries=("lightgbm", "onnx"),
        )

    def _grown(self, lightgbm: Any, train: Part, validation: Part, task: Task, rounds: Rounds) -> str:
        """The trees up to the best one, as LightGBM writes them."""
        before = lightgbm.Booster(model_str=started(task, "learned.txt").decode()) if task.start else None
        grown: Any = before if rounds.model is None else lightgbm.Booster(model_str=rounds.model.decode())
        best = before.current_iteration() if before is not None else 0
        if rounds.left:
            gains = _gains(train, validation) if task.kind == "ranking" else {}
            data, held = _datasets(lightgbm, train, validation)
            task.computed(described(self.device))
            with _told_of(lightgbm, self.device):
                grown = lightgbm.train(
                    {**self._parameters(task), **gains},
                    data,
                    num_boost_round=rounds.left,
                    init_model=grown,
                    valid_sets=[data, held],
                    valid_names=["train", "validation"],
                    callbacks=[_watched(lightgbm, rounds, task)],
                )
        text: str = grown.model_to_string(num_iteration=best + rounds.best)
        # LightGBM writes how many rounds its last call had, which is another number where a fit was gone on with.
        return re.sub(r"^\[num_iterations: .*\]$", f"[num_iterations: {self.trees}]", text, flags=re.MULTILINE)

    def _parameters(self, task: Task) -> dict[str, Any]:
        return {
            **_OBJECTIVES[task.kind],
            **({"num_class": len(task.classes)} if task.kind == "multiclass" else {}),
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1 if self.row_share < 1 else 0,
            "feature_fraction": self.column_share,
            "min_data_in_leaf": self.min_leaf_rows,
            "lambda_l2": self.l2,
            "seed": task.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **({"device_type": self.device} if self.device != "cpu" else {}),
        }


@contextmanager
def _told_of(lightgbm: Any, device: str) -> Iterator[None]:
    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        if device == "cpu":
            raise
        raise missing_device(device, f"LightGBM {lightgbm.__version__}", f"says: {error}") from error


def _datasets(lightgbm: Any, train: Part, validation: Part) -> tuple[Any, Any]:
    sizes, held_sizes = None, None
    if train.groups is not None:
        first, second = by_query(train), by_query(validation)
        train, sizes, validation, held_sizes = first.part, first.sizes, second.part, second.sizes
    quiet = {"verbosity": -1}
    data = lightgbm.Dataset(train.features, train.labels, weight=train.weights, group=sizes, params=quiet)
    held = data.create_valid(validation.features, validation.labels, weight=validation.weights, group=held_sizes)
    return data, held


def _gains(*parts: Part) -> dict[str, Any]:
    """An item's gain is its relevance, as in our metric, over the whole order. TrainingError for other numbers."""
    labels = np.concatenate([part.labels for part in parts])
    if (labels != np.floor(labels)).any() or labels.max() > _MOST_RELEVANT:
        raise TrainingError(
            f"LightGBM ranks by whole numbers up to {_MOST_RELEVANT:,}, and some relevances are none",
            hint="Round them, or take XGBoost.",
        )
    return {"label_gain": list(range(int(labels.max()) + 1)), "eval_at": [_WHOLE_ORDER]}


def _watched(lightgbm: Any, rounds: Rounds, task: Task) -> Callable[[Any], None]:
    def after(state: Any) -> None:
        losses = {part: loss for part, _, loss, *_ in state.evaluation_result_list}
        if task.kind == "ranking":
            losses = {part: 1 - ndcg for part, ndcg in losses.items()}
        written = lambda: state.model.model_to_string(num_iteration=-1).encode()  # noqa: E731
        if rounds.ended(losses["train"], losses["validation"], written):
            raise lightgbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

    return after


def _in_float32(text: str) -> str:
    """The same model for features of float32, with thresholds that are float32 too.

    LightGBM asks x <= t with a t of float64; for an x of float32 that is x <= the float32 below it. A graph, whose
    thresholds are the nearest float32, would send some rows the other way.
    """

    def below(line: re.Match[str]) -> str:
        lower = float32_at_most(np.array(line[1].split(), dtype=np.float64))
        return "threshold=" + " ".join(repr(float(value)) for value in lower)

    # The header tells the sizes of the trees' texts, which change.
    sized = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^threshold=(.+)$", below, sized, flags=re.MULTILINE)


def gain_shares(booster: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Each column's share of the gain of all splits."""
    gains = booster.feature_importance("gain")
    total = float(gains.sum()) or 1.0
    return {name: float(gain) / total for name, gain in zip(names, gains, strict=True)}


def _thresholds(saved: bytes) -> Iterator[tuple[int, float]]:
    waiting = [tree["tree_structure"] for tree in msgspec.json.decode(saved)["tree_info"]]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            yield node["split_feature"], float(node["threshold"])
            waiting += [node["left_child"], node["right_child"]]
