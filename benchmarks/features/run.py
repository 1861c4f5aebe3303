"""The feature store: joins, windows, materialisation and reads; Carrara beside Feast and beside the floor.

python benchmarks/features/run.py [--rows 1000000] [--works join,windows,…] [--peers carrara,feast,…] [--work FOLDER]

`--rows` is that of each of the join's three views; labels are always a million. Each system does each work alone, in a
process of its own, and Feast in an environment of its own. Seconds are those of the work, the best of three for a join;
what is prepared before it (Carrara's tables in the lake, the floor's sorted files) is not in them, and reading it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Peer, environment, last_lines, table, watched
from tables import ENTITIES, WIDE, write_join_tables, write_wide_table

HERE = Path(__file__).parent
LABELS = 1_000_000
PEERS = {
    "carrara": Peer("carrara_peer.py"),
    "polars": Peer("polars_peer.py"),
    # Newer releases of sqlglot write a view without a name, which DuckDB refuses.
    "feast": Peer("feast_peer.py", ("feast[duckdb]==0.67.0", "sqlglot<30.18", "polars==2.1.0")),
}
WORKS = {
    "join": ("carrara", "polars", "feast"),
    "windows": ("carrara",),
    "materialise": ("carrara", "feast"),
    "online": ("carrara", "feast"),
    "on_demand": ("carrara",),
    "ten_thousand": ("carrara",),
}


def main(rows: int, works: list[str], peers: list[str], folder: Path) -> None:
    for work in works:
        print(f"\n{work}\n", flush=True)
        done = {peer: _attempt(work, peer, rows, folder) for peer in WORKS[work] if peer in peers}
        print("\n".join(_shown(done)), flush=True)


def _attempt(work: str, peer: str, rows: int, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        tables = Path(scratch)
        if work == "join":
            write_join_tables(tables, rows, LABELS)
        elif work in ("materialise", "online"):
            write_wide_table(tables / "wide.parquet", ENTITIES, WIDE)
        try:
            python = environment(peer, PEERS[peer], folder)
        except subprocess.CalledProcessError as error:
            return {"error": f"not installed: {last_lines(error.stderr)}"}
        output = tables / "result.json"
        script = HERE / "peers" / PEERS[peer].script
        code, peak, said = watched([str(python), str(script), work, str(tables), str(output)])
        if code or not output.exists():
            return {"error": f"exit status {code}: {last_lines(said)}"}
        return {**json.loads(output.read_text()), "peak_gb": peak / 1e9}


def _shown(done: dict[str, dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for figures in done.values() for name in figures))
    return table([("system", *names), *((peer, *(_text(f.get(name)) for name in names)) for peer, f in done.items())])


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-benchmarks")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    main(given.rows, given.works.split(","), given.peers.split(","), given.work)
