"""Conditions in words: `metrics.roc_auc > 0.7 and owner = "ann"`, read by Python's own parser, never run by it.

condition   = comparison | `not` condition | condition `and` condition | condition `or` condition | `(` condition `)`
comparison  = field (`=` `!=` `<` `<=` `>` `>=`) value | field `in` (value, …) | field `like` "text%"
field       = name | name.name | name["any text"]
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import CarraraError

_OPERATORS = {
    ast.Eq: "=",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.MatMult: "like",
}
_MOST_CHARACTERS = 4_000
_MOST_DEPTH = 50


@dataclass(frozen=True)
class Comparison:
    """`field` against a value: a number, a text, a boolean, or with `in` a tuple of them."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Not:
    condition: Condition


@dataclass(frozen=True)
class Both:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    conditions: tuple[Condition, ...]


Condition = Comparison | Not | Both | Either


def parse_where(text: str) -> Condition:
    """The condition that a text stands for; CarraraError shows what cannot be read.

    >>> parse_where('metrics.roc_auc > 0.7 and owner = "ann"').conditions[0]
    Comparison(field='metrics.roc_auc', operator='>', value=0.7)
    """
    if len(text) > _MOST_CHARACTERS:
        raise _unreadable(text, f"it has more than {_MOST_CHARACTERS:,} characters")
    try:
        tree = ast.parse(_as_python(text), mode="eval")
        return _condition(tree.body, text, 0)
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        what = error.msg if isinstance(error, SyntaxError) else "it is not complete"
        raise _unreadable(text, what) from None


def parse_field(text: str) -> str:
    """The field that a text names, e.g. `metrics.roc_auc` or `tags["my tag"]`."""
    try:
        return _field(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, ValueError):
        raise _unreadable(text, "it is not the name of a field") from None


def _as_python(text: str) -> str:
    """SQL's words as Python's: `=`, AND, OR, NOT, IN, LIKE; what stands in quotes is left alone."""
    words = {"AND": "and", "OR": "or", "NOT": "not", "IN": "in", "LIKE": "@", "like": "@", "TRUE": "True"}
    words |= {"true": "True", "false": "False", "FALSE": "False", "=": "=="}
    return " ".join(words.get(word, word) for word in _tokens(text))


def _tokens(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text.replace("\n", " ")).readline):
        if token.type == tokenize.COMMENT:
            raise ValueError
        if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT):
            yield token.string


def _condition(node: ast.expr, text: str, depth: int) -> Condition:
    if depth > _MOST_DEPTH:
        raise _unreadable(text, "it is nested too deeply")
    if isinstance(node, ast.BoolOp):
        parts = tuple(_condition(part, text, depth + 1) for part in node.values)
        return Both(parts) if isinstance(node.op, ast.And) else Either(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return Not(_condition(node.operand, text, depth + 1))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return Comparison(_field(node.left, text), "like", _value(node.right, text))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        operator = _OPERATORS.get(type(node.ops[0]))
        if operator is not None:
            return Comparison(_field(node.left, text), operator, _value(node.comparators[0], text))
    raise _unreadable(text, f"'{ast.unparse(node)}' compares no field with a value")


def _field(node: ast.expr, text: str) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_field(node.value, text)}.{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return f"{_field(node.value, text)}.{node.slice.value}"
    raise _unreadable(text, f"'{ast.unparse(node)}' is not the name of a field")


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(element, text) for element in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        negative = _value(node.operand, text)
        if isinstance(negative, int | float):
            return -negative
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
        return node.value
    raise _unreadable(text, f"'{ast.unparse(node)}' is not a number or a text in quotes")


def _unreadable(text: str, what: str) -> CarraraError:
    return CarraraError(
        f"the condition '{text[:200]}' cannot be read: {what}",
        hint="""Write e.g. metrics.roc_auc > 0.7 and owner = "ann"; fields are in docs/models.md.""",
    )
