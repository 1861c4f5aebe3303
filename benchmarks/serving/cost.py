"""What a request costs the server: time of the processor, and how often one thread gives way to another.

python benchmarks/serving/cost.py [--paths grpc,named,keys,rest,rest_named] [--requests 5000] [--rounds 5]

Where others use the machine too, this can be measured all the same, and answers a second cannot: the least of several
rounds is what counts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import table
from load import CLIENT_CORE, GRPC_HEADERS, JSON_HEADERS, framed
from run import INSTANCES, KEYS, MATRIX, NAMED, NAMED_INSTANCES
from servers import Running, carrara, write_files

from carrara.serving.protocols.tensorflow_serving import PREDICT

CONNECTIONS = 32, 1


@dataclass(frozen=True)
class Asked:
    """What is asked of which server, and over which protocol."""

    served: str
    body: bytes
    rest: bool = False


PATHS = {
    "grpc": Asked("folder", framed(MATRIX)),
    "named": Asked("workspace", framed(NAMED)),
    "keys": Asked("workspace", framed(KEYS)),
    "rest": Asked("folder", INSTANCES, rest=True),
    "rest_named": Asked("workspace", NAMED_INSTANCES, rest=True),
}


@dataclass(frozen=True)
class Used:
    """What a process has used so far: microseconds of the processor, and how often its threads gave way."""

    microseconds: float
    switches: int

    @classmethod
    def by(cls, pid: int) -> Used:
        took = switches = 0
        for thread in Path(f"/proc/{pid}/task").iterdir():
            took += int((thread / "schedstat").read_text().split()[0])
            switches += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", (thread / "status").read_text())))
        return cls(took / 1e3, switches)


def cost(server: Running, path: Asked, connections: int, requests: int) -> Used:
    """Of one request."""
    before = Used.by(server.process.pid)
    _ask(server, path, connections, requests)
    after = Used.by(server.process.pid)
    return Used((after.microseconds - before.microseconds) / requests, (after.switches - before.switches) / requests)


def _ask(server: Running, path: Asked, connections: int, requests: int) -> None:
    at = f"{server.rest_port}/v1/models/bought:predict" if path.rest else f"{server.grpc_port}{PREDICT}"
    with tempfile.NamedTemporaryFile() as body:
        body.write(path.body)
        body.flush()
        command = ["taskset", "-c", CLIENT_CORE, "h2load", "-t", "1", "-m", "1", "-c", str(connections)]
        command += ["-n", str(requests), "-d", body.name, *(JSON_HEADERS if path.rest else GRPC_HEADERS)]
        said = subprocess.run([*command, f"http://127.0.0.1:{at}"], check=True, capture_output=True, text=True).stdout
    if f"{requests} succeeded" not in said:
        raise RuntimeError(f"not all were answered: {said}")


def main(work: Path, names: list[str], requests: int, rounds: int) -> None:
    versions = str(write_files(work) / "versions")
    options = {
        "folder": ("--model_name", "bought", "--model_base_path", versions),
        "workspace": ("--workspace", str(work / "workspace")),
    }
    rows = []
    for served, given in options.items():
        asked = [name for name in names if PATHS[name].served == served]
        if asked:
            with carrara(*given) as server:
                rows += [
                    _row(server, name, connections, requests, rounds) for name in asked for connections in CONNECTIONS
                ]
    print("\n".join(table([("path", "connections", "CPU µs a request", "switches a request"), *rows])))


def _row(server: Running, name: str, connections: int, requests: int, rounds: int) -> tuple[str, ...]:
    # One at a time they take several times as long.
    count = requests if connections > 1 else requests // 4
    found = [cost(server, PATHS[name], connections, count) for _ in range(rounds)]
    took, switches = min(one.microseconds for one in found), min(one.switches for one in found)
    return name, str(connections), f"{took:.1f}", f"{switches:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", default=",".join(PATHS))
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-serving")
    told = parser.parse_args()
    told.work.mkdir(parents=True, exist_ok=True)
    main(told.work, told.paths.split(","), told.requests, told.rounds)
