"""Metrics of your own: by a function, by a combiner, or by what each kind of mistake costs."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from carrara.core.digests import digest_data, digest_function
from carrara.core.errors import DataError, DefinitionError
from carrara.evaluation.binary import at_threshold
from carrara.evaluation.combiner import Combiner, batches_of, combined, combiner_of, digest_combiner
from carrara.evaluation.intervals import Kernel
from carrara.evaluation.metrics import Metric
from carrara.evaluation.weighing import Floats, mean, ratio


def metric(*, greater_is_better: bool | None, per_row: bool = False) -> Callable[[Callable[..., Any]], Metric]:
    """Declare a metric by its function, `(labels, scores) -> float`, or `(labels, scores, weights)`, or by a class that
    is a combiner (see `evaluation.combiner`), which sees a batch of rows at a time.

    With `per_row` the function gives a value per row, of shape (rows,), and the metric is their mean: that is measured
    in one pass, however many rows and resamples there are. `greater_is_better` is None where it only describes.

    >>> @metric(greater_is_better=False, per_row=True)
    ... def cubed(labels, scores):
    ...     return abs(labels - scores) ** 3
    >>> cubed.function([1.0, 0.0], [1.0, 0.5])
    0.0625
    """

    def declared(function: Callable[..., Any]) -> Metric:
        combiner = combiner_of(function)
        if combiner is not None:
            return _combiner_metric(combiner, greater_is_better, per_row)
        parameters = len(signature(function).parameters)
        if parameters not in (2, 3) or (per_row and parameters != 2):
            raise DefinitionError(
                f"the metric '{function.__name__}' takes {parameters} parameters",
                hint="(labels, scores), or (labels, scores, weights).",
            )
        make = _per_row if per_row else _weighted if parameters == 3 else _repeated
        return Metric(
            name=function.__name__,
            kind=None,
            kernel=make(function),
            greater_is_better=greater_is_better,
            description=(function.__doc__ or "").strip(),
            digest=digest_function(function),
        )

    return declared


def cost(
    *,
    false_positive: float = 0.0,
    false_negative: float = 0.0,
    true_positive: float = 0.0,
    true_negative: float = 0.0,
    name: str = "cost",
) -> Metric:
    """The mean cost of a row at the threshold, by what each outcome costs (a gain is negative).

    >>> cost(false_positive=1, false_negative=5).function([1, 1, 0, 0], [0.9, 0.1, 0.8, 0.2])
    1.5
    """
    prices = np.array([true_positive, false_positive, false_negative, true_negative], np.float64)
    if not (np.isfinite(prices).all() and prices.any()):
        raise DefinitionError(f"the costs of '{name}' must be numbers, and not all 0")

    def kernel(rows: Any, weights: Floats, threshold: float | None = None) -> Any:
        total = sum(price * part for price, part in zip(prices, at_threshold(rows, weights, threshold), strict=True))
        return ratio(total, weights.sum(axis=-1))

    said = f"{true_positive:g} a true positive, {false_positive:g} a false one, {false_negative:g} a false negative"
    return Metric(
        name=name,
        kind="binary",
        kernel=kernel,
        greater_is_better=False,
        description=f"The mean cost of a row: {said}, {true_negative:g} a true one.",
        digest=digest_data(["cost", prices.tolist()]),
    )


def _combiner_metric(combiner: Combiner, greater_is_better: bool | None, per_row: bool) -> Metric:
    name = str(getattr(combiner, "name", type(combiner).__name__))
    if per_row:
        raise DefinitionError(f"the metric '{name}' is a combiner, and gives no value per row")

    def once(rows: Any, weights: Floats) -> float:
        return _number(name, lambda: combiner.result(combined(combiner, batches_of(rows, weights))))

    said = (type(combiner).__doc__ or "").strip()
    digest = digest_combiner(combiner)
    return Metric(name, None, _of_each(once), greater_is_better, said, digest, combiner)


def _per_row(function: Callable[..., Any]) -> Kernel:
    def kernel(rows: Any, weights: Floats) -> Any:
        values = np.asarray(_asked(function.__name__, function, rows.labels, rows.scores), np.float64)
        if values.shape != (len(rows),):
            raise DataError(f"the metric '{function.__name__}' gave shape {values.shape} for {len(rows):,} rows")
        return mean(values, weights)

    return kernel


def _weighted(function: Callable[..., Any]) -> Kernel:
    def once(rows: Any, weights: Floats) -> float:
        return _number(function.__name__, function, rows.labels, rows.scores, weights)

    return _of_each(once)


def _repeated(function: Callable[..., Any]) -> Kernel:
    """A function without weights is given each row as often as it counts."""

    def once(rows: Any, weights: Floats) -> float:
        times = weights.astype(np.int64)
        if not np.array_equal(times, weights):
            raise DataError(
                f"the metric '{function.__name__}' takes no weights, and the rows have some",
                hint="Let the function take (labels, scores, weights).",
            )
        return _number(
            function.__name__, function, *(np.repeat(values, times, axis=0) for values in (rows.labels, rows.scores))
        )

    return _of_each(once)


def _of_each(once: Callable[[Any, Floats], float]) -> Kernel:
    """A kernel that asks once for each resample; one on which the function fails, as with one class only, is NaN."""

    def safely(rows: Any, weights: Floats) -> float:
        try:
            return once(rows, weights)
        except DataError:
            return float("nan")

    def kernel(rows: Any, weights: Floats) -> Any:
        return once(rows, weights) if weights.ndim == 1 else np.array([safely(rows, one) for one in weights])

    return kernel


def _number(name: str, function: Callable[..., Any], *arguments: Any) -> float:
    found = _asked(name, function, *arguments)
    try:
        return float(found)
    except (TypeError, ValueError):
        raise DataError(f"the metric '{name}' gave {found!r}, which is no number") from None


def _asked(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise DataError(f"the metric '{name}' failed: {type(error).__name__}: {error}") from error
