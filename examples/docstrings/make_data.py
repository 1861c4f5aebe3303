"""Writes docstrings.parquet: the first paragraphs of what some installed libraries say of their functions."""

from __future__ import annotations

import ast
import importlib.util
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

LIBRARIES = ("numpy", "polars", "sqlalchemy", "rich")


def main(folder: Path) -> None:
    found = [(library, text) for library in LIBRARIES for text in dict.fromkeys(paragraphs(library))]
    random.Random(0).shuffle(found)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "at": [start + timedelta(minutes=number) for number in range(len(found))],
            "library": [library for library, _ in found],
            "text": [text for _, text in found],
        }
    )
    rows.write_parquet(folder / "docstrings.parquet")
    print(f"{rows.height:,} texts in {folder / 'docstrings.parquet'}")


def paragraphs(library: str) -> Iterator[str]:
    """The first paragraph of each docstring; its own name is taken out, which would tell too much."""
    spec = importlib.util.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
                if len(text) > 30:
                    yield text.lower().replace(library, "it")


if __name__ == "__main__":
    main(Path(__file__).parent)
