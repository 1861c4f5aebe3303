"""An evaluation as a folder: its figures, its report, and a file that says whether all gates passed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import StorageError
from carrara.models.report import render_report

BLESSED, NOT_BLESSED = "BLESSED", "NOT_BLESSED"


def write_evaluation(folder: Path, evaluation: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write `evaluation.json`, `report.html` and, where all gates passed, BLESSED, else NOT_BLESSED with the reasons.

    Of an evaluation that was there before, nothing is left: a blessing is never that of other figures.
    """
    page = render_report(record)
    failed = [one["message"] for one in evaluation["gates"]["results"] if not one["passed"]]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (BLESSED, NOT_BLESSED):
            (folder / name).unlink(missing_ok=True)
        (folder / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(evaluation)))
        (folder / "report.html").write_text(page, encoding="utf-8")
        said = "".join(f"{reason}\n" for reason in failed)
        (folder / (NOT_BLESSED if failed else BLESSED)).write_text(said, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
