"""Which of the injected anomalies a system found: one small function a system, generous to the peers.

A report counts when it names the column (or, for columns that are gone and for rows, the table) and is of a kind that
the anomaly causes and that a sound sample would not have caused. It need not say what the cause was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tables import INJECTED, Injected

RENAMED_TO = "float_nine"


@dataclass(frozen=True)
class Report:
    """What a system said of a column; "" is the table. The text starts with the kind: "drift: ..."."""

    column: str
    text: str

    @property
    def kind(self) -> str:
        return self.text.partition(":")[0]


def found_by_carrara(anomaly: Injected, reports: list[Report]) -> bool:
    return any(report.column == anomaly.column and report.kind in anomaly.carrara_kinds for report in reports)


def found_by_polars(anomaly: Injected, reports: list[Report]) -> bool:
    """It computes figures only."""
    return False


def found_by_tfdv(anomaly: Injected, reports: list[Report]) -> bool:
    """Any report on the column; for the rename, that the old one is missing.

    Not the drift of the times: it is 1 for any two samples of which one follows the other.
    """
    kinds = {report.kind for report in reports if report.column == anomaly.column}
    if anomaly.column == "time_0":
        return bool(kinds - {"COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"})
    return bool(kinds)


def found_by_evidently(anomaly: Injected, reports: list[Report]) -> bool:
    """Any report on the column; for columns that are gone, that their number is another.

    (It is, since the columns that it stops at were taken out; else as many would be new as are gone.)

    Not what it reports of sound columns too: that half of the rows have half as many missing values (their share
    counts), and that the least and greatest values of an unbounded distribution are not those of before (counted
    for values that were put out of range, and infinities).
    """
    if anomaly.column == "":
        return any(report.kind == "RowCount" for report in reports)
    if anomaly.column in ("float_9", "int_4"):
        return any(report.column == anomaly.column or report.kind == "ColumnCount" for report in reports)
    said = [report for report in reports if report.column == anomaly.column]
    missing = [report for report in said if report.kind == "MissingValueCount"]
    ends = [report for report in said if report.kind in ("MinValue", "MaxValue")]
    if anomaly.column == "float_3":
        return len(missing) == 2
    if anomaly.column in ("float_2", "float_4") and ends:
        return True
    return any(report not in missing and report not in ends for report in said)


def false_alarms(reports: list[Report]) -> set[str]:
    """The columns with a report that nothing was done to."""
    touched = {anomaly.column for anomaly in INJECTED} | {RENAMED_TO}
    return {report.column for report in reports} - touched


FINDERS: dict[str, Callable[[Injected, list[Report]], bool]] = {
    "carrara": found_by_carrara,
    "polars": found_by_polars,
    "tfdv": found_by_tfdv,
    "evidently": found_by_evidently,
}
