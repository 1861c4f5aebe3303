"""Metrics by kind of model and by name, and their measured values with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any, Literal

import numpy.typing as npt

from carrara.core.errors import NotFoundError
from carrara.evaluation import (
    binary,
    clustering,
    detection,
    flips,
    multiclass,
    multilabel,
    ranking,
    regression,
    segmentation,
    text,
)
from carrara.evaluation.combiner import Combiner
from carrara.evaluation.intervals import RESAMPLES, Kernel, Resamples
from carrara.evaluation.jackknife import Jackknife, Method, intervals_by
from carrara.evaluation.ranked import rank
from carrara.evaluation.weighing import Floats

Kind = Literal[
    "binary",
    "multiclass",
    "regression",
    "multilabel",
    "ranking",
    "clustering",
    "text",
    "segmentation",
    "detection",
    "flips",
]
"""What is predicted: true or false, one of several classes, a number, several of true or false, an order, or, without a
label, a cluster. Texts, a class for each pixel and boxes in images are measured where they were predicted elsewhere;
flips are of two scores of the same row."""

_ROWS: Mapping[Kind, Callable[..., Any]] = MappingProxyType(
    {
        "binary": rank,
        "multiclass": multiclass.classified_rows,
        "regression": regression.predicted_rows,
        "multilabel": multilabel.multilabel_rows,
        "ranking": ranking.query_rows,
        "clustering": clustering.clustered_rows,
        "text": text.text_rows,
        "segmentation": segmentation.segmented_rows,
        "detection": detection.detected_rows,
        "flips": flips.turned_rows,
    }
)


@dataclass(frozen=True)
class Metric:
    """A named figure of labels and scores; `greater_is_better` is None where it only describes.

    `kind` is None where it can be measured of every kind; `digest` is that of the user's function behind it, and
    `combiner` the user's own, whose parts may be computed anywhere and merged.
    """

    name: str
    kind: Kind | None
    kernel: Kernel
    greater_is_better: bool | None
    description: str
    digest: str | None = None
    combiner: Combiner | None = None

    def __str__(self) -> str:
        return self.name

    def function(self, labels: npt.ArrayLike, scores: npt.ArrayLike, **options: Any) -> float:
        """The metric's value, NaN where it is undefined; `options` are those of `measure` that belong to rows.

        Raises DataError for rows that cannot be measured.

        >>> METRICS["roc_auc"].function([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
        """
        rows = _ROWS[self.kind or "regression"](labels, scores, **options)
        return float(self.kernel(rows, rows_weights(rows)))

    def spec(self) -> Any:
        """The name, with what the user's function is where it is one."""
        return self.name if self.digest is None else {"name": self.name, "function": self.digest}


def _metrics(kind: Kind, **kernels: tuple[Kernel, bool | None]) -> Mapping[str, Metric]:
    made = {name: Metric(name, kind, k, better, (k.__doc__ or "").strip()) for name, (k, better) in kernels.items()}
    return MappingProxyType(made)


METRICS_OF: Mapping[Kind, Mapping[str, Metric]] = MappingProxyType(
    {
        "binary": _metrics(
            "binary",
            roc_auc=(binary.roc_auc, True),
            pr_auc=(binary.pr_auc, True),
            log_loss=(binary.log_loss, False),
            brier=(binary.brier, False),
            accuracy=(binary.accuracy, True),
            balanced_accuracy=(binary.balanced_accuracy, True),
            precision=(binary.precision, True),
            recall=(binary.recall, True),
            f1=(binary.f1, True),
            mcc=(binary.mcc, True),
            false_positive_rate=(binary.false_positive_rate, False),
            specificity=(binary.specificity, True),
            negative_predictive_value=(binary.negative_predictive_value, True),
            recall_at_precision=(binary.recall_at_precision, True),
            precision_at_recall=(binary.precision_at_recall, True),
            calibration_error=(binary.calibration_error, False),
            predicted_rate=(binary.predicted_rate, None),
            positive_rate=(binary.positive_rate, None),
            mean_score=(binary.mean_score, None),
        ),
        "multiclass": _metrics(
            "multiclass",
            accuracy=(multiclass.accuracy, True),
            top_accuracy=(multiclass.top_accuracy, True),
            log_loss=(multiclass.log_loss, False),
            brier=(multiclass.brier, False),
            calibration_error=(multiclass.calibration_error, False),
            macro_precision=(multiclass.macro_precision, True),
            macro_recall=(multiclass.macro_recall, True),
            macro_f1=(multiclass.macro_f1, True),
            weighted_f1=(multiclass.weighted_f1, True),
            macro_roc_auc=(multiclass.macro_roc_auc, True),
            macro_pr_auc=(multiclass.macro_pr_auc, True),
            class_precision=(multiclass.class_precision, True),
            class_recall=(multiclass.class_recall, True),
            class_f1=(multiclass.class_f1, True),
            class_roc_auc=(multiclass.class_roc_auc, True),
            class_pr_auc=(multiclass.class_pr_auc, True),
        ),
        "regression": _metrics(
            "regression",
            mae=(regression.mae, False),
            rmse=(regression.rmse, False),
            rmsle=(regression.rmsle, False),
            r2=(regression.r2, True),
            correlation=(regression.correlation, True),
            mape=(regression.mape, False),
            smape=(regression.smape, False),
            wape=(regression.wape, False),
            quantile_loss=(regression.quantile_loss, False),
            bias=(regression.bias, None),
            mean_label=(regression.mean_label, None),
            mean_prediction=(regression.mean_prediction, None),
        ),
        "multilabel": _metrics(
            "multilabel",
            macro_roc_auc=(multilabel.macro_roc_auc, True),
            macro_pr_auc=(multilabel.macro_pr_auc, True),
            macro_f1=(multilabel.macro_f1, True),
            micro_roc_auc=(multilabel.micro_roc_auc, True),
            micro_pr_auc=(multilabel.micro_pr_auc, True),
            micro_f1=(multilabel.micro_f1, True),
            log_loss=(multilabel.log_loss, False),
            hamming_loss=(multilabel.hamming_loss, False),
            exact_match=(multilabel.exact_match, True),
            jaccard=(multilabel.jaccard, True),
        ),
        "ranking": _metrics(
            "ranking",
            ndcg=(ranking.ndcg, True),
            map=(ranking.average_precision, True),
            mrr=(ranking.reciprocal_rank, True),
            precision=(ranking.precision, True),
            recall=(ranking.recall, True),
            hit_rate=(ranking.hit_rate, True),
        ),
        "clustering": _metrics(
            "clustering",
            silhouette=(clustering.silhouette, True),
            inertia=(clustering.inertia, False),
            mean_distance=(clustering.mean_distance, False),
            largest_share=(clustering.largest_share, None),
            smallest_share=(clustering.smallest_share, None),
        ),
        "text": _metrics(
            "text",
            bleu=(text.bleu, True),
            rouge1=(text.rouge1, True),
            rouge2=(text.rouge2, True),
            rouge_l=(text.rouge_l, True),
            word_error_rate=(text.word_error_rate, False),
            exact_match=(text.exact_match, True),
        ),
        "segmentation": _metrics(
            "segmentation",
            mean_iou=(segmentation.mean_iou, True),
            mean_dice=(segmentation.mean_dice, True),
            pixel_accuracy=(segmentation.pixel_accuracy, True),
            image_iou=(segmentation.image_iou, True),
            class_iou=(segmentation.class_iou, True),
        ),
        "detection": _metrics(
            "detection",
            mean_average_precision=(detection.mean_average_precision, True),
            average_precision=(detection.average_precision, True),
            average_recall=(detection.average_recall, True),
        ),
        "flips": _metrics(
            "flips",
            flip_rate=(flips.flip_rate, False),
            positive_to_negative=(flips.positive_to_negative, False),
            negative_to_positive=(flips.negative_to_positive, False),
            positive_to_positive=(flips.positive_to_positive, None),
            negative_to_negative=(flips.negative_to_negative, None),
            mean_shift=(flips.mean_shift, None),
        ),
    }
)

METRICS: Mapping[str, Metric] = METRICS_OF["binary"]
"""The metrics of a binary label."""

DEFAULT_METRICS: tuple[str, ...] = tuple(METRICS)

MAIN_METRICS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "binary": ("roc_auc", "pr_auc", "log_loss", "brier"),
        "multiclass": ("accuracy", "log_loss", "macro_f1", "macro_roc_auc"),
        "regression": ("rmse", "mae", "r2"),
        "multilabel": ("macro_roc_auc", "macro_pr_auc", "micro_f1"),
        "ranking": ("ndcg", "ndcg@10", "map"),
        "clustering": ("silhouette", "inertia", "smallest_share"),
        "text": ("rouge_l", "bleu", "exact_match"),
        "segmentation": ("mean_iou", "pixel_accuracy"),
        "detection": ("mean_average_precision", "average_precision"),
        "flips": ("flip_rate", "positive_to_negative", "negative_to_positive"),
    }
)
"""What a model is measured by that names no metrics; the first is the one that it is compared by."""


@dataclass(frozen=True)
class MetricValue:
    """A measured value, its 95 % interval (NaN where undefined or not asked for) and the rows behind it."""

    value: float
    low: float
    high: float
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: NaN becomes None."""
        return {
            "value": _or_none(self.value),
            "low": _or_none(self.low),
            "high": _or_none(self.high),
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MetricValue:
        value, low, high = (math.nan if data[key] is None else float(data[key]) for key in ("value", "low", "high"))
        return cls(value, low, high, int(data["rows"]))


def metric(asked: str | Metric, kind: Kind | None = None) -> Metric:
    """The metric of a name, of a kind or of any; NotFoundError names the nearest one.

    A number after `@` is the metric's parameter: `recall@0.3` at a threshold, `quantile_loss@0.9`, `ndcg@10`.

    >>> metric("recall@0.3").function([0, 1, 1], [0.1, 0.2, 0.4])
    0.5
    """
    if isinstance(asked, Metric):
        return asked
    name, _, number = asked.partition("@")
    for one in METRICS_OF if kind is None else (kind,):
        found = METRICS_OF[one].get(name)
        if found is not None and (not number or _parameter(found) is not None):
            return _at(found, asked, number) if number else found
    known = METRICS_OF[kind] if kind else {n for metrics in METRICS_OF.values() for n in metrics}
    raise NotFoundError(f"{kind} metric" if kind else "metric", asked, known)


def scaled_error(scale: float) -> Metric:
    """MASE, by the mean absolute error of a naive forecast of the training rows; NaN where that makes none.

    >>> scaled_error(2.0).function([10, 20], [11, 19])
    0.5
    """
    told = "mean absolute error, over that of a naive forecast of the training rows"
    return Metric("mase", "regression", partial(regression.mase, scale=scale), False, told)


def _parameter(found: Metric) -> str | None:
    """The name of what follows `@`: a kernel's third parameter."""
    return next(iter(list(signature(found.kernel).parameters)[2:]), None)


def _at(found: Metric, asked: str, number: str) -> Metric:
    parameter = str(_parameter(found))
    try:
        value = int(number) if parameter == "k" else float(number)
    except ValueError:
        raise NotFoundError("metric", asked, [found.name], hint=f"{found.name}@NUMBER takes a {parameter}.") from None
    return replace(found, name=asked, kernel=partial(found.kernel, **{parameter: value}))


def rows_weights(rows: Any) -> Floats:
    """The example weights of rows, ones where they have none."""
    return Resamples.ones(len(rows)) if rows.weights is None else rows.weights


def labelled_rows(kind: Kind, labels: npt.ArrayLike, scores: npt.ArrayLike, **options: Any) -> Any:
    """Rows as the metrics of a kind take them, checked; `options` are threshold, weights, and a ranking's groups."""
    return _ROWS[kind](labels, scores, **{name: value for name, value in options.items() if value is not None})


def measure(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    names: Iterable[str | Metric] = DEFAULT_METRICS,
    *,
    kind: Kind = "binary",
    bootstrap: int = RESAMPLES,
    seed: int = 0,
    threshold: float = 0.5,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    intervals: Method = "bootstrap",
) -> dict[str, MetricValue]:
    """Each metric with its 95 % interval, by bootstrap or jackknife.

    Of a binary label `labels` (0/1 or bool) and `scores` (0..1) have shape (rows,), of a regression numbers; of
    several classes `labels` are places and `scores` have shape (rows, classes); of several labels both have shape
    (rows, outputs); of a ranking `labels` are relevances and `groups` names each row's query; of flips `labels` are the
    scores before and `scores` those after; of texts, masks and boxes see `text_rows`, `segmented_rows` and
    `detected_rows`. `weights` say how much each row counts. A metric that is
    undefined on these rows is NaN; resamples on which it is undefined are left out of its interval, and an interval
    always holds its value. `bootstrap` is how many resamples, or groups that are left out, there are; 0 gives no
    interval.
    Raises DataError (with counts) for rows that cannot be measured, NotFoundError for an unknown metric.
    """
    wanted = [metric(name, kind) for name in names]
    rows = labelled_rows(kind, labels, scores, threshold=threshold, weights=weights, groups=groups)
    return measure_rows(rows, wanted, intervals_by(intervals, bootstrap, seed))


def measure_rows(rows: Any, wanted: Iterable[Metric], resamples: Resamples | Jackknife) -> dict[str, MetricValue]:
    """The metrics of rows that are checked already."""
    metrics, weights = list(wanted), rows_weights(rows)
    kernels = [one.kernel for one in metrics]
    values = [float(kernel(rows, weights)) for kernel in kernels]
    intervals = resamples.of(rows).intervals(kernels, values)
    return {
        one.name: MetricValue(value, low, high, len(rows))
        for one, value, (low, high) in zip(metrics, values, intervals, strict=True)
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
