"""The language of alert rules: comparisons of what is known of a window, such as `psi("weather:temp") > 0.2`.

A rule is Python's syntax and none of its power: names, functions of one text, numbers, arithmetic, comparisons, `and`,
`or`, `not`. What is not known makes a rule unknown, which is neither true nor false (P11).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import DefinitionError, did_you_mean
from carrara.evaluation.metrics import METRICS_OF

Value = float | bool | None

_METRICS = sorted({name for metrics in METRICS_OF.values() for name in metrics})

NAMES: Mapping[str, str] = {
    "predictions": "how many predictions the window has",
    "outcomes": "of how many the outcome is known",
    "worse": "how many metrics have an interval that is wholly worse than the evaluation's",
    "estimated_worse": "the same of their estimates, before outcomes are known",
    "score_psi": "PSI of the scores against the evaluation's",
    "score_psi_last": "PSI of the scores against the window before",
    "domain_auc": "how well a classifier tells the window's rows from training rows; 0.5 is not at all",
    "domain_usual": "how well it tells a stretch of training rows, as long as the window, from the rest of them",
    "parity": "the share of compared rows with a feature that is not what the offline join gives",
    "lost": "how many predictions of the window's time were answered and are not in the log",
    "latency_p99": "seconds in which 99 of 100 predictions were answered",
    **{name: f"live {name}" for name in _METRICS},
}
"""What a rule can name."""

OF_FEATURE: Mapping[str, str] = {
    "psi": "PSI against training",
    "psi_last": "PSI against the window before",
    "psi_week": "PSI against the window a week before",
    "jensen_shannon": "Jensen-Shannon divergence against training",
    "l_infinity": "the largest change of a bin's share",
    "effect": "how much the shift changes the model's output, in standard deviations of it",
    "missing": "by how much the share of missing values has risen since training",
    "out_of_range": "the share of values that training has not seen the like of",
}
"""Functions of a feature; by their name alone the greatest of all features."""

OF_OTHERS: Mapping[str, str] = {
    "age": "of a feature view: how old its values were, in seconds, in 95 of 100 predictions at most",
    "evaluation": "of a metric: the evaluation's value",
    "estimated": "of a metric: its estimate without outcomes",
    "low": "of a metric: the low end of its interval",
    "high": "of a metric: the high end of its interval",
}

_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Mapping[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Facts:
    """What is known of one window: its result as `compute_window` gave it, and how many predictions were lost."""

    result: Mapping[str, Any]
    lost: int = 0

    def name(self, name: str) -> Value:
        found = self.result
        if name in OF_FEATURE:
            values = [value for one in found["drift"] if (value := _of_feature(one, name)) is not None]
            return max(values) if values else None
        if name in _METRICS:
            return _part(found["metrics"], name, "value")
        match name:
            case "predictions" | "outcomes":
                return _known_value(found[name])
            case "score_psi" | "score_psi_last":
                return _known_value(found["score_drift"][name.removeprefix("score_")])
            case "worse":
                return len(found["worse"]) if found["metrics"] else None
            case "estimated_worse":
                return len(found.get("estimated_worse", ())) if found["estimated"] else None
            case "domain_auc" | "domain_usual":
                return _known_value((found["multivariate"] or {}).get(name.removeprefix("domain_")))
            case "parity":
                return found["parity"]["different"] / found["parity"]["compared"] if found["parity"] else None
            case "latency_p99":
                return _known_value((found["latency_seconds"] or {}).get("p99"))
            case _:
                return self.lost

    def call(self, function: str, of: str) -> Value:
        found = self.result
        if function in OF_FEATURE:
            return next((_of_feature(one, function) for one in found["drift"] if one["feature"] == of), None)
        if function == "age":
            return _known_value(found["freshness"].get(of, {}).get("p95"))
        source = found[function if function in ("evaluation", "estimated") else "metrics"]
        return _part(source, of, function if function in ("low", "high") else "value")


def check_rule(rule: str) -> None:
    """Raise DefinitionError, with the nearest right name, for what is no rule."""
    _check(_parsed(rule), rule)


def evaluate_rule(rule: str, facts: Facts) -> bool | None:
    """Whether a rule holds; None where that is not known."""
    value = _value(_parsed(rule), facts)
    return None if value is None else bool(value)


def names_in(rule: str) -> set[str]:
    """The names and functions that a rule has."""
    return {node.id for node in ast.walk(_parsed(rule)) if isinstance(node, ast.Name)}


def _parsed(rule: str) -> ast.expr:
    try:
        return ast.parse(rule, mode="eval").body
    except SyntaxError as error:
        raise DefinitionError(
            f"'{rule}' is not a rule: {error.msg}", hint="""Write for example: psi("weather:temp") > 0.2"""
        ) from None


def _check(node: ast.expr, rule: str) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check(value, rule)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            _check(operand, rule)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check(left, rule)
            _check(right, rule)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            for one in (left, *others):
                _check(one, rule)
        case ast.Constant(value=bool() | int() | float()):
            pass
        case ast.Name(id=name):
            _known("name", name, [*NAMES, *OF_FEATURE], rule)
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str() as of)], keywords=[]):
            _known("function", name, [*OF_FEATURE, *OF_OTHERS], rule)
            if name in ("evaluation", "estimated", "low", "high"):
                _known("metric", of, _METRICS, rule)
        case _:
            raise DefinitionError(
                f"the rule '{rule}' has '{ast.unparse(node)}', which rules do not have",
                hint="They have names, functions of one text, numbers, + - * /, comparisons, and, or, not.",
            )


def _known(what: str, name: str, known: list[str], rule: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or f"There are: {', '.join(sorted(known))}."
        raise DefinitionError(f"the rule '{rule}' has the unknown {what} '{name}'", hint=hint)


def _value(node: ast.expr, facts: Facts) -> Value:
    match node:
        case ast.BoolOp(op=op, values=values):
            found = [_value(value, facts) for value in values]
            decides = isinstance(op, ast.Or)
            if any(value is not None and bool(value) is decides for value in found):
                return decides
            return None if None in found else not decides
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, facts)
            return None if value is None else (not value if isinstance(op, ast.Not) else -value)
        case ast.BinOp(left=left, op=op, right=right):
            one, other = _value(left, facts), _value(right, facts)
            if one is None or other is None or (isinstance(op, ast.Div) and not other):
                return None
            return _ARITHMETIC[type(op)](one, other)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_value(side, facts) for side in (left, *others)]
            if None in sides:
                return None
            return all(_COMPARE[type(op)](sides[n], sides[n + 1]) for n, op in enumerate(ops))
        case ast.Constant(value=value):
            return value if isinstance(value, bool | int | float) else None
        case ast.Name(id=name):
            return facts.name(name)
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str() as of)]):
            return facts.call(name, of)
    return None


def _of_feature(one: Mapping[str, Any], name: str) -> Value:
    if name == "effect":
        return _known_value(one["effect_deviations"])
    if name == "missing":
        return float(one["null_share_actual"] - one["null_share_expected"])
    return _known_value(one[name])


def _part(metrics: Mapping[str, Any] | None, name: str, part: str) -> Value:
    return _known_value(((metrics or {}).get(name) or {}).get(part))


def _known_value(value: Any) -> Value:
    return None if value is None else float(value)
