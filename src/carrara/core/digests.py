"""Digests: of bytes, of files, of plain data, and of the code of a user's function."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import msgspec

_PLAIN = (str, bytes, int, float, bool, type(None), tuple, list, dict, frozenset, set)


def digest_bytes(data: bytes) -> str:
    """SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_data(data: Any) -> str:
    """SHA-256 of plain data (dicts in any order), by its canonical JSON.

    >>> digest_data({"a": 1, "b": 2}) == digest_data({"b": 2, "a": 1})
    True
    """
    return digest_bytes(msgspec.json.encode(data, order="deterministic"))


def digest_function(function: Callable[..., Any]) -> str:
    """SHA-256 of what a function computes: its code, and the helpers and constants it reads.

    Comments, blank lines and docstrings do not count; a constant of the module that it reads does.
    """
    return digest_bytes("\n".join(_described(inspect.unwrap(function), set())).encode())


def _described(function: Any, seen: set[str]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function.__qualname__ in seen:
        return
    seen.add(function.__qualname__)
    yield _normalised_source(function)
    for name in sorted(_global_names(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            yield from _described(value, seen)
        elif isinstance(value, _PLAIN) and name in function.__globals__:
            yield f"{name}={sorted(value, key=repr) if isinstance(value, set | frozenset) else value!r}"


def _normalised_source(function: FunctionType) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                node.body = node.body[1:]
    return ast.dump(tree)


def _global_names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names
