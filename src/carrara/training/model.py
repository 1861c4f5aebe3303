"""What a user declares of a model: features, label, split, trainer, how it is judged, when it may go live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from carrara.core.clock import duration
from carrara.core.errors import DefinitionError, NotFoundError
from carrara.core.memory import bytes_of
from carrara.core.schedule import Schedule
from carrara.data.splits import Split
from carrara.evaluation.gates import Gate
from carrara.evaluation.jackknife import Method, intervals_by
from carrara.evaluation.metrics import MAIN_METRICS, Kind, Metric, metric
from carrara.evaluation.slicing import Sliced, Slicing
from carrara.training.compute import Compute
from carrara.training.retrain import Retrain
from carrara.training.search import Space
from carrara.training.trainers.base import OUTPUTS, Trainer
from carrara.training.transforms.base import Transform


@dataclass(frozen=True)
class Label:
    """What is to be predicted: a column of a dataset, by its `kind`: "binary" (a boolean), "multiclass" (texts or whole
    numbers, each a class), "regression" (a number), "multilabel" (lists of texts, or several columns of booleans, each
    a label that is true or not), or "ranking" (how relevant an item is, 0 and more, among the items of its `group`:
    the column that names the query).

    `time` is the moment at which each row is predicted, `known_at` the one at which its label became known;
    `known_at` is also what joins outcomes to logged predictions.
    """

    dataset: str
    column: str | tuple[str, ...]
    time: str
    known_at: str | None = None
    kind: Kind = "binary"
    group: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in OUTPUTS:
            raise NotFoundError("kind of label", self.kind, OUTPUTS)
        if bool(self.column) == (self.kind == "clustering"):
            said = "names no column" if not self.column else "of a clustering is no label: there is none"
            raise DefinitionError(f"the label of '{self.dataset}' {said}", hint="carrara.Unlabelled(dataset=…, time=…)")
        if bool(self.group) != (self.kind == "ranking"):
            said = "is one of a ranking, and names no group" if not self.group else f"names a group, and is {self.kind}"
            raise DefinitionError(
                f"the label of '{self.dataset}' {said}", hint='Label(…, kind="ranking", group="search_id")'
            )
        if not isinstance(self.column, str) and self.kind != "multilabel":
            raise DefinitionError(
                f"the label of '{self.dataset}' names {len(self.column)} columns, and is {self.kind}",
                hint='Several columns of booleans are kind="multilabel".',
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the label is made of; of a clustering none."""
        return ((self.column,) if self.column else ()) if isinstance(self.column, str) else self.column

    def spec(self) -> dict[str, Any]:
        column = self.column if isinstance(self.column, str) else list(self.column)
        found = {**vars(self), "column": column}
        # What was trained before there were rankings keeps its digest.
        return found if self.group else {name: value for name, value in found.items() if name != "group"}


def Unlabelled(dataset: str, time: str, known_at: str | None = None) -> Label:  # noqa: N802  # reads as Label does
    """The rows of a dataset, each at its `time`, for a model that learns without a label.

    >>> Unlabelled("trips", time="at").kind
    'clustering'
    """
    return Label(dataset, "", time, known_at, "clustering")


@dataclass(frozen=True)
class Model:
    """A model: everything that training, evaluation, serving and monitoring need to know of it.

    `features` are references (`view:feature`, or `view` for all of a view's), `slices` columns of the label's
    dataset or features, crosses such as `("carrier", "hour")`, or SQL over a row's columns by name, such as
    `{"long_haul": "distance > 2000"}`, to judge separately, `baseline` columns whose
    positive rates (or means) are what the model has to beat, `weight` one that says how much each row counts in
    training, `metric_weight` one that says it of the metrics; `class_weights` say it of each class, `{"late": 5}`, or
    "balanced": all classes together count the same. `metrics` are by default those of the label's kind, and
    may be your own (`carrara.metric`, `carrara.cost`), with `intervals` by "bootstrap" or "jackknife";
    `transforms` are fitted on the train part, and served in the model; `search` are the hyper-parameters that tuning
    tries, by default those of the trainer. `partition_by` are features, texts, for each value of which that has
    `partition_rows` training rows there is a model of its own. `scores` are versions of other models, `"risk@2"`, whose
    scores are inputs beside the features; rows that these have learned from are left out, or with `score_folds` scored
    by so many fits of them on earlier rows alone. A scheduler trains it by its `schedule`, `"@weekly"` or
    a cron expression, and when `retrain` says so; a fit that takes longer than `time_limit`,
    such as `"2h"`, or more than `memory_limit`, such as `"4GB"`, is ended. `compute` says which processes share a fit,
    where whoever trains it asks for no others. `tier` is how much depends on it, from 1, the most, to 4: of tier 1 and
    2 there are gates and an owner, and a version of tier 1 takes traffic of another one only after it was its shadow;
    what is due is trained by tier.
    """

    name: str
    features: tuple[str, ...]
    label: Label
    split: Split
    trainer: Trainer
    search: Mapping[str, Space] = field(default_factory=dict)
    transforms: tuple[Transform, ...] = ()
    metrics: tuple[str | Metric, ...] = ()
    slices: tuple[Sliced, ...] | Mapping[str, str] = ()
    weight: str | None = None
    metric_weight: str | None = None
    class_weights: Literal["balanced"] | Mapping[str | bool | int, float] | None = None
    partition_by: tuple[str, ...] = ()
    partition_rows: int = 1_000
    scores: tuple[str, ...] = ()
    score_folds: int = 0
    baseline: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    threshold: float = 0.5
    intervals: Method = "bootstrap"
    seed: int = 0
    schedule: str | None = None
    retrain: Retrain | None = None
    time_limit: str | None = None
    memory_limit: str | None = None
    compute: Compute | None = None
    tier: int | None = None
    description: str = ""
    owner: str = ""

    kind = "model"

    def __post_init__(self) -> None:
        if not self.features:
            raise DefinitionError(f"model '{self.name}' has no features")
        if not self.label.time:
            raise DefinitionError(
                f"the label of model '{self.name}' names no time",
                hint='Say when each row is predicted: Label(…, time="COLUMN").',
            )
        if self.scores and self.partition_by:
            raise DefinitionError(f"model '{self.name}' is partitioned, and reads scores: it can do one of them")
        if self.score_folds < 0 or (self.score_folds and not self.scores):
            raise DefinitionError(
                f"model '{self.name}' has {self.score_folds} score_folds, and "
                + ("reads no scores" if not self.scores else "0 is the least"),
                hint='scores=("risk@2",), score_folds=5',
            )
        if self.baseline and not self.label.column:
            raise DefinitionError(f"model '{self.name}' has no label, of which a baseline could be the mean")
        kinds: tuple[Kind, ...] = getattr(self.trainer, "kinds", tuple(OUTPUTS))
        if self.label.kind not in kinds:
            raise DefinitionError(
                f"the trainer '{self.trainer.name}' of model '{self.name}' learns no {self.label.kind} label",
                hint=f"It learns: {', '.join(kinds)}.",
            )
        self._check_class_weights()
        self._check_tier()
        intervals_by(self.intervals, 0, 0)
        assert self.slicing  # which raises for SQL that is none
        for name in self.metrics:
            metric(name, self.label.kind)
        if self.time_limit is not None:
            duration(self.time_limit)
        if self.memory_limit is not None:
            bytes_of(self.memory_limit)
        if self.schedule is not None:
            Schedule.of(self.schedule)
        if not hasattr(self.trainer, "with_parameters"):
            known = self.trainer.spec()
            for name in self.search:
                if name not in known:
                    raise NotFoundError("hyper-parameter", name, known, where=f"the search of model '{self.name}'")

    def _check_tier(self) -> None:
        if self.tier is None:
            return
        if self.tier not in (1, 2, 3, 4):
            raise DefinitionError(
                f"model '{self.name}' is of tier {self.tier!r}", hint="1, on which most depends, to 4."
            )
        if self.tier <= 2 and not (self.gates and self.owner):
            raise DefinitionError(
                f"model '{self.name}' is of tier {self.tier}, and has no {'owner' if self.gates else 'gates'}",
                hint='gates=(carrara.at_least("roc_auc", 0.7),), owner="ada@example.com"',
            )

    def _check_class_weights(self) -> None:
        if self.class_weights is None:
            return
        if self.label.kind not in ("binary", "multiclass"):
            raise DefinitionError(f"model '{self.name}' weighs classes, and its label is a {self.label.kind} one")
        if self.class_weights == "balanced":
            return
        if not isinstance(self.class_weights, Mapping) or not all(value > 0 for value in self.class_weights.values()):
            raise DefinitionError(
                f"the class weights of model '{self.name}' are {self.class_weights!r}",
                hint='"balanced", or a number above 0 for each class, such as {True: 5}.',
            )

    @property
    def measured(self) -> tuple[str | Metric, ...]:
        """The metrics that the model is judged by."""
        return self.metrics or MAIN_METRICS[self.label.kind]

    @cached_property
    def slicing(self) -> Slicing:
        """What it is judged by beside the whole: its slices, and what it is partitioned by."""
        return Slicing.of(self._sliced, self.partition_by)

    @property
    def _sliced(self) -> tuple[Sliced, ...]:
        return (self.slices,) if isinstance(self.slices, Mapping) else self.slices

    def spec(self) -> dict[str, Any]:
        # What was trained before there were folds keeps its digest.
        folds = {"score_folds": self.score_folds} if self.score_folds else {}
        # What was trained before one could choose keeps its digest.
        chosen = {} if self.intervals == "bootstrap" else {"intervals": self.intervals}
        # What was trained before a definition could say it keeps its digest.
        shared: dict[str, Any] = {} if self.compute is None else {"compute": self.compute.spec()}
        shared |= {} if self.tier is None else {"tier": self.tier}
        return {
            **chosen,
            **shared,
            "features": list(self.features),
            "label": self.label.spec(),
            "split": self.split.spec(),
            "trainer": {"name": self.trainer.name, **self.trainer.spec()},
            "search": {name: space.spec() for name, space in self.search.items()},
            "transforms": [transform.spec() for transform in self.transforms],
            "metrics": [metric(one, self.label.kind).spec() for one in self.measured],
            "weight": self.weight,
            "class_weights": {str(name): value for name, value in self.class_weights.items()}
            if isinstance(self.class_weights, Mapping)
            else self.class_weights,
            "metric_weight": self.metric_weight,
            "partition_by": list(self.partition_by),
            "partition_rows": self.partition_rows,
            "scores": list(self.scores),
            **folds,
            "slices": [list(one) if isinstance(one, tuple) else one for one in self._sliced],
            "baseline": list(self.baseline),
            "gates": [gate.spec() for gate in self.gates],
            "threshold": self.threshold,
            "seed": self.seed,
            "schedule": self.schedule,
            "retrain": self.retrain.spec() if self.retrain is not None else None,
            "time_limit": self.time_limit,
            "memory_limit": self.memory_limit,
            "description": self.description,
            "owner": self.owner,
        }
