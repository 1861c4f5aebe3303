"""Metrics of every kind, with scikit-learn as the judge."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as judge

from carrara.core.errors import DataError
from carrara.evaluation.metrics import METRICS_OF, measure, metric

RANDOM = np.random.default_rng(0)
ROWS = 600
WEIGHTS = RANDOM.random(ROWS) * 3

CLASSES = RANDOM.dirichlet([2, 1, 1, 0.5], ROWS)
CLASS = np.array([RANDOM.choice(4, p=one) for one in CLASSES])
PREDICTED = CLASSES.argmax(axis=1)
ONE_EACH = np.eye(4)[CLASS]

SCORES = RANDOM.random((ROWS, 3)).round(2)
LABELS = (RANDOM.random((ROWS, 3)) < SCORES).astype(int)
ANSWERS = (SCORES >= 0.5).astype(int)

NUMBERS = RANDOM.gamma(2.0, 10.0, ROWS)
GUESSES = NUMBERS * RANDOM.lognormal(0, 0.4, ROWS)

BINARY = RANDOM.random(ROWS).round(2)
TRUE = (RANDOM.random(ROWS) < BINARY).astype(int)


def recall_at(curve, precision):
    return max(curve[1][curve[0] >= precision], default=0.0)


def precision_at(curve, recall):
    return max(curve[0][curve[1] >= recall])


def brier(y, s, w):
    return np.average(((s - np.eye(4)[y]) ** 2).sum(axis=1), weights=w)


MULTICLASS = {
    "accuracy": lambda w: judge.accuracy_score(CLASS, PREDICTED, sample_weight=w),
    "top_accuracy@2": lambda w: judge.top_k_accuracy_score(CLASS, CLASSES, k=2, sample_weight=w),
    "log_loss": lambda w: judge.log_loss(CLASS, CLASSES, sample_weight=w),
    "brier": lambda w: brier(CLASS, CLASSES, w),
    "macro_precision": lambda w: judge.precision_score(CLASS, PREDICTED, average="macro", sample_weight=w),
    "macro_recall": lambda w: judge.recall_score(CLASS, PREDICTED, average="macro", sample_weight=w),
    "macro_f1": lambda w: judge.f1_score(CLASS, PREDICTED, average="macro", sample_weight=w),
    "weighted_f1": lambda w: judge.f1_score(CLASS, PREDICTED, average="weighted", sample_weight=w),
    "macro_roc_auc": lambda w: judge.roc_auc_score(ONE_EACH, CLASSES, average="macro", sample_weight=w),
    "macro_pr_auc": lambda w: judge.average_precision_score(ONE_EACH, CLASSES, average="macro", sample_weight=w),
    "class_precision@1": lambda w: judge.precision_score(CLASS, PREDICTED, average=None, sample_weight=w)[1],
    "class_recall@2": lambda w: judge.recall_score(CLASS, PREDICTED, average=None, sample_weight=w)[2],
    "class_f1@0": lambda w: judge.f1_score(CLASS, PREDICTED, average=None, sample_weight=w)[0],
    "class_roc_auc@1": lambda w: judge.roc_auc_score(ONE_EACH[:, 1], CLASSES[:, 1], sample_weight=w),
    "class_pr_auc@3": lambda w: judge.average_precision_score(ONE_EACH[:, 3], CLASSES[:, 3], sample_weight=w),
}
MULTILABEL = {
    "macro_roc_auc": lambda w: judge.roc_auc_score(LABELS, SCORES, average="macro", sample_weight=w),
    "macro_pr_auc": lambda w: judge.average_precision_score(LABELS, SCORES, average="macro", sample_weight=w),
    "macro_f1": lambda w: judge.f1_score(LABELS, ANSWERS, average="macro", sample_weight=w),
    "micro_roc_auc": lambda w: judge.roc_auc_score(LABELS, SCORES, average="micro", sample_weight=w),
    "micro_pr_auc": lambda w: judge.average_precision_score(LABELS, SCORES, average="micro", sample_weight=w),
    "micro_f1": lambda w: judge.f1_score(LABELS, ANSWERS, average="micro", sample_weight=w),
    "log_loss": lambda w: np.mean([judge.log_loss(LABELS[:, n], SCORES[:, n], sample_weight=w) for n in range(3)]),
    "hamming_loss": lambda w: judge.hamming_loss(LABELS, ANSWERS, sample_weight=w),
    "exact_match": lambda w: judge.accuracy_score(LABELS, ANSWERS, sample_weight=w),
    "jaccard": lambda w: judge.jaccard_score(LABELS, ANSWERS, average="samples", sample_weight=w),
}
REGRESSION = {
    "mae": lambda w: judge.mean_absolute_error(NUMBERS, GUESSES, sample_weight=w),
    "rmse": lambda w: judge.root_mean_squared_error(NUMBERS, GUESSES, sample_weight=w),
    "rmsle": lambda w: judge.root_mean_squared_log_error(NUMBERS, GUESSES, sample_weight=w),
    "r2": lambda w: judge.r2_score(NUMBERS, GUESSES, sample_weight=w),
    "mape": lambda w: judge.mean_absolute_percentage_error(NUMBERS, GUESSES, sample_weight=w),
    "quantile_loss@0.9": lambda w: judge.mean_pinball_loss(NUMBERS, GUESSES, alpha=0.9, sample_weight=w),
    "correlation": lambda w: (
        np.cov(NUMBERS, GUESSES, aweights=w)[0, 1] / np.sqrt(np.prod(np.diag(np.cov(NUMBERS, GUESSES, aweights=w))))
    ),
    "wape": lambda w: np.average(abs(GUESSES - NUMBERS), weights=w) / np.average(NUMBERS, weights=w),
    "smape": lambda w: np.average(2 * abs(GUESSES - NUMBERS) / (GUESSES + NUMBERS), weights=w),
}
BINARY_JUDGES = {
    "roc_auc": lambda w: judge.roc_auc_score(TRUE, BINARY, sample_weight=w),
    "pr_auc": lambda w: judge.average_precision_score(TRUE, BINARY, sample_weight=w),
    "log_loss": lambda w: judge.log_loss(TRUE, BINARY, sample_weight=w),
    "brier": lambda w: judge.brier_score_loss(TRUE, BINARY, sample_weight=w),
    "accuracy@0.3": lambda w: judge.accuracy_score(TRUE, BINARY >= 0.3, sample_weight=w),
    "precision@0.3": lambda w: judge.precision_score(TRUE, BINARY >= 0.3, sample_weight=w),
    "recall@0.7": lambda w: judge.recall_score(TRUE, BINARY >= 0.7, sample_weight=w),
    "f1@0.7": lambda w: judge.f1_score(TRUE, BINARY >= 0.7, sample_weight=w),
    "balanced_accuracy": lambda w: judge.balanced_accuracy_score(TRUE, BINARY >= 0.5, sample_weight=w),
    "specificity@0.3": lambda w: judge.recall_score(1 - TRUE, BINARY < 0.3, sample_weight=w),
    "negative_predictive_value": lambda w: judge.precision_score(1 - TRUE, BINARY < 0.5, sample_weight=w),
    "recall_at_precision@0.8": lambda w: recall_at(judge.precision_recall_curve(TRUE, BINARY, sample_weight=w), 0.8),
    "precision_at_recall@0.6": lambda w: precision_at(judge.precision_recall_curve(TRUE, BINARY, sample_weight=w), 0.6),
    "mcc": lambda w: judge.matthews_corrcoef(TRUE, BINARY >= 0.5, sample_weight=w),
}
ALL = [
    *(("binary", name, TRUE, BINARY, one) for name, one in BINARY_JUDGES.items()),
    *(("multiclass", name, CLASS, CLASSES, one) for name, one in MULTICLASS.items()),
    *(("multilabel", name, LABELS, SCORES, one) for name, one in MULTILABEL.items()),
    *(("regression", name, NUMBERS, GUESSES, one) for name, one in REGRESSION.items()),
]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["one each", "weighted"])
@pytest.mark.parametrize(("kind", "name", "labels", "scores", "expected"), ALL, ids=lambda one: str(one)[:24])
def test_a_metric_equals_scikit_learn(kind, name, labels, scores, expected, weights):
    found = measure(labels, scores, [name], kind=kind, bootstrap=20, weights=weights)[name]
    assert found.value == pytest.approx(expected(weights), rel=1e-9)
    assert found.low <= found.value <= found.high


def ranked_queries(queries=40, items=8):
    relevance = RANDOM.integers(0, 4, (queries, items))
    relevance[:, 0] = 1  # so that every query has one
    return relevance, RANDOM.random((queries, items)).round(1)


@pytest.mark.parametrize("k", [None, 3])
def test_ndcg_equals_scikit_learn_with_ties(k):
    relevance, scores = ranked_queries()
    names, groups = ["ndcg" if k is None else f"ndcg@{k}"], np.repeat(np.arange(len(scores)), scores.shape[1])
    found = measure(relevance.ravel(), scores.ravel(), names, kind="ranking", groups=groups, bootstrap=20)[names[0]]
    assert found.value == pytest.approx(judge.ndcg_score(relevance, scores, k=k), rel=1e-9)
    assert found.rows == len(scores)


def test_map_is_the_mean_average_precision_of_scikit_learn():
    relevance, scores = ranked_queries()
    expected = [judge.average_precision_score(y > 0, s) for y, s in zip(relevance, scores, strict=True)]
    groups = np.repeat([f"query {n}" for n in range(len(scores))], scores.shape[1])
    found = measure(relevance.ravel(), scores.ravel(), ["map"], kind="ranking", groups=groups)["map"]
    assert found.value == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_first_places_of_a_ranking_are_counted():
    labels, scores, groups = [0, 1, 1, 1, 0, 0, 0], [4, 3, 2, 1, 3, 2, 1], [1, 1, 1, 1, 2, 2, 2]
    found = measure(
        labels, scores, ["precision@2", "recall@2", "hit_rate@2", "hit_rate@1"], kind="ranking", groups=groups
    )
    assert [one.value for one in found.values()] == pytest.approx([0.25, 1 / 3, 0.5, 0.0])


def test_mrr_is_one_over_the_first_relevant_place():
    found = measure([0, 1, 0, 1, 0], [3, 2, 1, 2, 1], ["mrr"], kind="ranking", groups=[1, 1, 1, 2, 2])
    assert found["mrr"].value == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.parametrize("name", METRICS_OF["ranking"])
def test_a_query_of_weight_two_counts_as_two_queries(name):
    relevance, scores = ranked_queries(6)
    groups = np.repeat(np.arange(6), 8)
    twice = measure(
        np.append(relevance.ravel(), relevance[0]),
        np.append(scores.ravel(), scores[0]),
        [name],
        kind="ranking",
        groups=np.append(groups, [99] * 8),
        bootstrap=0,
    )
    weights = np.where(groups == 0, 2.0, 1.0)
    weighted = measure(
        relevance.ravel(), scores.ravel(), [name], kind="ranking", groups=groups, weights=weights, bootstrap=0
    )
    assert weighted[name].value == pytest.approx(twice[name].value)


@pytest.mark.parametrize("kind", METRICS_OF)
def test_a_resample_of_many_at_once_is_that_of_each_alone(kind):
    made = {
        "binary": (TRUE, BINARY, {}),
        "multiclass": (CLASS, CLASSES, {}),
        "multilabel": (LABELS, SCORES, {}),
        "regression": (NUMBERS, GUESSES, {}),
        "ranking": (TRUE, BINARY, {"groups": np.arange(ROWS) // 5}),
        "clustering": (CLASS, np.abs(CLASSES), {}),
        "flips": (BINARY, BINARY[::-1], {}),
        "text": (["a cat sat on a mat", "dogs run"] * 9, ["a cat sat on it", "a dog runs"] * 9, {}),
        "segmentation": (CLASS.reshape(30, -1), PREDICTED.reshape(30, -1), {}),
        "detection": (
            [{"boxes": [[0, 0, 9, 9], [20, 20, 29, 29]], "classes": [0, 1]}] * 12,
            [
                {"boxes": [[0, 0, 9, 8 - n % 4], [20, 20, 29, 28]], "classes": [0, 1], "scores": [0.9, n / 12]}
                for n in range(12)
            ],
            {},
        ),
    }
    from carrara.evaluation.metrics import labelled_rows

    labels, scores, options = made[kind]
    rows = labelled_rows(kind, labels, scores, **options)
    weights = RANDOM.poisson(1.0, (3, len(rows))).astype(float)
    for one in METRICS_OF[kind].values():
        expected = [float(one.kernel(rows, alone)) for alone in weights]
        np.testing.assert_allclose(one.kernel(rows, weights), expected, rtol=1e-9, err_msg=one.name)


def test_rmsle_of_a_prediction_below_minus_one_is_undefined():
    assert np.isnan(measure([1.0, 2.0], [-3.0, 1.0], ["rmsle"], kind="regression")["rmsle"].value)


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [0, 0], [1]])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(DataError, match="weights"):
        measure([0, 1], [0.2, 0.7], ["brier"], weights=weights)


@pytest.mark.parametrize(
    ("kind", "labels", "scores", "said"),
    [
        ("multiclass", [0, 1], [[0.2, 0.8], [-3.0, 4.0]], r"1 of 2 rows have scores outside 0..1 \(from -3 to 4\)"),
        ("multiclass", [0, 1], [[0.2, 0.8], [np.nan, 1.0]], "1 of 2 scores are missing or infinite"),
        ("multilabel", [[0, 1]], [[0.2, 1.8]], "1 of 2 scores are outside 0..1"),
        ("multilabel", [[0, 1]], [[0.2, np.nan]], "1 of 2 scores are NaN"),
        ("regression", [1.0, 2.0], [1.0, np.inf], "1 of 2 predictions are missing or infinite"),
    ],
)
def test_scores_that_mean_nothing_are_counted_in_the_error(kind, labels, scores, said):
    with pytest.raises(DataError, match=said):
        measure(labels, scores, METRICS_OF[kind], kind=kind)


def test_a_class_that_is_not_there_is_told():
    with pytest.raises(DataError, match="there is no class 4: they are 0 to 3"):
        measure(CLASS, CLASSES, ["class_recall@4"], kind="multiclass")


def test_a_parameter_that_is_no_number_is_refused():
    with pytest.raises(Exception, match="takes a threshold"):
        metric("recall@high")


def test_no_metric_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure([1, 1], [0.2, 0.7])
        measure([0, 0], np.eye(2), METRICS_OF["multiclass"], kind="multiclass")
        measure([3.0, 3.0], [3.0, 3.0], METRICS_OF["regression"], kind="regression")
