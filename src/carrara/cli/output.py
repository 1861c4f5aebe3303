"""What commands print: lines for people, JSON for programs; nothing but data on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from carrara.core.json import to_json
from carrara.core.progress import Progress, Step

_UNBOUNDED = 1_000


def print_json(value: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(to_json(value).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns without a frame; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [[_text(cell) for cell in row] for row in rows]
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(row[place][:1].isdigit() or row[place] in ("", "–") for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A file or a pipe has no width to fit into.
    width = None if sys.stdout.isatty() else _UNBOUNDED
    Console(width=width, highlight=False, markup=False).print(table)


def say(text: str = "") -> None:
    print(text, flush=True)


class TerminalProgress(Progress):
    """A line a step: its name, what came out, how long it took; a bar while it runs, on a terminal only."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__()
        self._quiet = quiet
        self._bar: Any = None

    def begin(self, name: str) -> Step:
        if self._quiet or not sys.stderr.isatty():
            return Step(name)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description:<15}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        return _DrawnStep(name, bar=self._bar, task=self._bar.add_task(name, total=None))

    def ended(self, step: Step) -> None:
        self._stop()
        if not self._quiet:
            time = "reused" if step.reused else f"{step.seconds:.1f} s"
            say(f"  {step.name:<15}{step.said:<66} {time:>8}")

    def failed(self, step: Step) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _DrawnStep(Step):
    def __init__(self, name: str, bar: Any, task: Any) -> None:
        super().__init__(name)
        self._bar, self._task = bar, task

    def advance(self, done: int, total: int | None) -> None:
        self._bar.update(self._task, completed=done, total=total)


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return str(cell)
