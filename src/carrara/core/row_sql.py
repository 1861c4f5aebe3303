"""SQL expressions over the columns of a row, as rules, slices and samples are written."""

from __future__ import annotations

import re

import polars as pl
from polars.exceptions import SQLSyntaxError

_QUERY = re.compile(r"\(\s*(select|with|from|table|values)\b", re.IGNORECASE)


def holds_query(sql: str) -> bool:
    """Whether there is a query within an expression, which Polars (2.1) begins to read as soon as it parses it.

    >>> holds_query("load > (SELECT 1)"), holds_query("load > 1")
    (True, False)
    """
    return _QUERY.search(sql) is not None


def row_expression(sql: str) -> pl.Expr:
    """An expression over a row; Polars' SQLSyntaxError for what is none."""
    if holds_query(sql):
        raise SQLSyntaxError("a query within an expression, which looks at more than its row")
    return pl.sql_expr(sql)
