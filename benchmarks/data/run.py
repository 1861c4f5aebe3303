"""Statistics, schema, validation and drift of a second sample: Carrara beside TFDV, Evidently and a pass of Polars.

python benchmarks/data/run.py [--rows 1000000] [--peers carrara,polars,tfdv,evidently] [--work FOLDER]

Each system runs once, alone, in a process of its own, and the peers in an environment of their own too. Seconds are
those of the work, without imports; memory is the peak of the process and its children (read from /proc, so on Linux).
Polars passes over the reference only, so the others' share that is the reference's statistics is shown beside it.
What is counted as found is in `found.py`; false alarms are columns with a report that nothing was done to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from found import FINDERS, Report, false_alarms
from harness import Peer, environment, last_lines, table, watched
from tables import INJECTED, write_tables

HERE = Path(__file__).parent

PEERS = {
    "carrara": Peer("carrara_peer.py"),
    "polars": Peer("polars_pass.py"),
    # The newest release with a wheel for Python 3.11. Without the pin of Beam, pip backtracks without end.
    "tfdv": Peer(
        "tfdv_peer.py",
        ("tensorflow-data-validation==1.16.1", "apache-beam==2.59.0", "numpy<2", "setuptools<81"),
    ),
    # With pandas 3 it fails on import.
    "evidently": Peer("evidently_peer.py", ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==26.0.1")),
}


@dataclass(frozen=True)
class Outcome:
    """What one run gave: its figures, or its error."""

    peer: str
    version: str = "?"
    seconds: float | None = None
    reference_seconds: float | None = None
    peak_bytes: int = 0
    found: list[Report] = field(default_factory=list)
    error: str = ""


def main(rows: int, names: list[str], work: Path) -> None:
    samples = work / f"{rows}-rows"
    reference, current = samples / "reference.parquet", samples / "current.parquet"
    if not (reference.exists() and current.exists()):
        write_tables(samples, rows)
    outcomes = [_attempt(name, (reference, current), work) for name in names]
    print(f"\n{rows:,} rows of reference, {rows // 2:,} of current, 30 columns\n")
    print("\n".join(_figures(outcomes)), end="\n\n")
    print("\n".join(_anomalies(outcomes)), end="\n\n")
    for outcome in outcomes:
        if outcome.error:
            print(f"{outcome.peer} failed: {outcome.error}")


def _attempt(name: str, tables: tuple[Path, Path], work: Path) -> Outcome:
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        python = environment(name, PEERS[name], work)
    except subprocess.CalledProcessError as error:
        return Outcome(name, error=f"not installed: {last_lines(error.stderr)}")
    output = tables[0].parent / f"{name}.json"
    output.unlink(missing_ok=True)
    code, peak, said = watched([str(python), str(HERE / "peers" / PEERS[name].script), *map(str, tables), str(output)])
    if code or not output.exists():
        return Outcome(name, peak_bytes=peak, error=f"exit status {code}: {last_lines(said)}")
    result: dict[str, Any] = json.loads(output.read_text())
    found = [Report(column, text) for column, text in result.pop("found")]
    return Outcome(name, peak_bytes=peak, found=found, **result)


def _figures(outcomes: list[Outcome]) -> list[str]:
    seconds = {outcome.peer: outcome.seconds for outcome in outcomes}
    heads = (
        "system",
        "version",
        "seconds",
        "x Polars",
        "x Carrara",
        "reference alone",
        "x Polars",
        "peak GB",
        "found",
        "false alarms",
    )
    lines = []
    for outcome in outcomes:
        hits = sum(FINDERS[outcome.peer](each, outcome.found) for each in INJECTED)
        silent = bool(outcome.error) or outcome.peer == "polars"
        lines.append(
            (
                outcome.peer,
                outcome.version,
                "failed" if outcome.error else _number(outcome.seconds),
                _ratio(outcome.seconds, seconds.get("polars")),
                _ratio(outcome.seconds, seconds.get("carrara")),
                _number(outcome.reference_seconds),
                _ratio(outcome.reference_seconds, seconds.get("polars")),
                _number(outcome.peak_bytes / 1e9),
                "-" if silent else f"{hits} of {len(INJECTED)}",
                "-" if silent else str(len(false_alarms(outcome.found))),
            )
        )
    return table([heads, *lines])


def _anomalies(outcomes: list[Outcome]) -> list[str]:
    shown = [outcome for outcome in outcomes if outcome.peer != "polars"]
    lines = [("anomaly", "column", *(outcome.peer for outcome in shown))]
    for each in INJECTED:
        found = ["-" if o.error else "yes" if FINDERS[o.peer](each, o.found) else "no" for o in shown]
        lines.append((each.name, each.column or "the table", *found))
    return table(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ratio(value: float | None, other: float | None) -> str:
    return "-" if value is None or other is None else f"{value / other:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-benchmark-data")
    given = parser.parse_args()
    main(given.rows, given.peers.split(","), given.work)
