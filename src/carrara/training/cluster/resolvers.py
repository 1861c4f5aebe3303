"""Who a process is and who the others are, from its environment: `TF_CONFIG`, Slurm, a Job of Kubernetes, the hosts of
a TPU, or a list of hosts.

All but the first number processes and know no jobs: `CARRARA_CLUSTER_JOBS`, such as `ps=1,worker=3`, says which are
which, in that order; without it all are workers.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from carrara.core.errors import ConfigurationError
from carrara.training.cluster.spec import ClusterSpec

_HOSTS, _TASK = "CARRARA_CLUSTER_HOSTS", "CARRARA_CLUSTER_TASK"
_JOBS, _PORT, _SERVICE = "CARRARA_CLUSTER_JOBS", "CARRARA_CLUSTER_PORT", "CARRARA_CLUSTER_SERVICE"
_FIRST_PORT = "2222"


@dataclass(frozen=True)
class Place:
    """A task of a cluster: this process's."""

    cluster: ClusterSpec
    job: str
    number: int


def resolve(environment: Mapping[str, str]) -> Place:
    """Where a process with this environment is. Raises ConfigurationError where nothing tells."""
    if "TF_CONFIG" in environment:
        return Place(*ClusterSpec.from_tf_config(environment["TF_CONFIG"]))
    if _HOSTS in environment:
        return _placed(environment, _listed(environment, environment[_HOSTS]), _listed_number(environment))
    if "SLURM_PROCID" in environment:
        return _placed(environment, list(_slurm_addresses(environment)), int(environment["SLURM_PROCID"]))
    if "JOB_COMPLETION_INDEX" in environment:
        return _placed(environment, _kubernetes_addresses(environment), int(environment["JOB_COMPLETION_INDEX"]))
    if "TPU_WORKER_HOSTNAMES" in environment:
        addresses = _listed(environment, environment["TPU_WORKER_HOSTNAMES"])
        return _placed(environment, addresses, _number(environment, "TPU_WORKER_ID"))
    raise ConfigurationError(
        "nothing tells which task of a cluster this process is",
        hint="Name it: --cluster cluster.toml --job worker --task 0; or set TF_CONFIG, or start it by Slurm.",
    )


def hosts_of(nodes: str) -> list[str]:
    """The hosts that a list of Slurm names.

    >>> hosts_of("gpu[01-03,7],login")
    ['gpu01', 'gpu02', 'gpu03', 'gpu7', 'login']
    """
    found = []
    for one in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", nodes):
        head, bracket, rest = one.partition("[")
        if not bracket:
            found.append(one)
            continue
        numbers, _, tail = rest.partition("]")
        for part in numbers.split(","):
            low, _, high = part.partition("-")
            for number in range(int(low), int(high or low) + 1):
                found.append(f"{head}{number:0{len(low)}d}{tail}")
    return found


def tasks_of(counts: str) -> list[int]:
    """How many tasks each node has, as Slurm writes it.

    >>> tasks_of("2(x3),1")
    [2, 2, 2, 1]
    """
    found = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        found += [int(count)] * int(times or 1)
    return found


def _slurm_addresses(environment: Mapping[str, str]) -> Iterator[str]:
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    counts = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE", "1")
    hosts, tasks, port = hosts_of(nodes), tasks_of(counts), int(environment.get(_PORT, _FIRST_PORT))
    if len(tasks) != len(hosts):
        raise ConfigurationError(f"Slurm names {len(hosts)} nodes ({nodes}), and tasks of {len(tasks)} ({counts})")
    for host, count in zip(hosts, tasks, strict=True):
        yield from (f"{host}:{port + number}" for number in range(count))


def _kubernetes_addresses(environment: Mapping[str, str]) -> Sequence[str]:
    """An Indexed Job with a headless service: the pod of index 2 of the job `late` is at `late-2.SERVICE`."""
    if _SERVICE not in environment or _JOBS not in environment:
        raise ConfigurationError(
            f"a Job of Kubernetes needs {_JOBS}, such as ps=1,worker=2, and {_SERVICE}, its headless service",
            hint="Set both in the pods' template.",
        )
    name = environment["HOSTNAME"].removesuffix(f"-{environment['JOB_COMPLETION_INDEX']}")
    pods, port = sum(_counts(environment, 0).values()), environment.get(_PORT, _FIRST_PORT)
    return [f"{name}-{number}.{environment[_SERVICE]}:{port}" for number in range(pods)]


def _listed(environment: Mapping[str, str], hosts: str) -> list[str]:
    """Addresses of hosts, such as `a,b:2223`, on the first port where they say none."""
    port = environment.get(_PORT, _FIRST_PORT)
    named = [host.strip() for host in hosts.split(",") if host.strip()]
    return [host if ":" in host else f"{host}:{port}" for host in named]


def _listed_number(environment: Mapping[str, str]) -> int:
    """The place of this machine in the list, by what is said or by its name, with or without its domain."""
    if _TASK in environment:
        return _number(environment, _TASK)
    hosts = [address.rpartition(":")[0] for address in _listed(environment, environment[_HOSTS])]
    name = environment.get("HOSTNAME") or socket.gethostname()
    short = [host.partition(".")[0] for host in hosts]
    mine = [place for place, one in enumerate(hosts) if one == name] or [
        place for place, one in enumerate(short) if one == name.partition(".")[0]
    ]
    if len(mine) != 1:
        raise ConfigurationError(
            f"{_HOSTS} names {', '.join(hosts)}, and this machine is {name}",
            hint=f"Say which one it is: {_TASK}=0 for the first.",
        )
    return mine[0]


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdigit():
        raise ConfigurationError(f"{name} is {text!r}, and the number of this process is expected, from 0")
    return int(text)


def _counts(environment: Mapping[str, str], processes: int) -> dict[str, int]:
    text = environment.get(_JOBS)
    if text is None:
        return {"worker": processes}
    try:
        return {job.strip(): int(count) for job, count in (one.split("=") for one in text.split(","))}
    except ValueError:
        raise ConfigurationError(f"{_JOBS} is {text!r}, and such as ps=1,worker=3 is expected") from None


def _placed(environment: Mapping[str, str], addresses: Sequence[str], number: int) -> Place:
    counts = _counts(environment, len(addresses))
    if (counted := sum(counts.values())) != len(addresses):
        raise ConfigurationError(f"{_JOBS} counts {counted} tasks, and there are {len(addresses)} processes")
    jobs, places, given = {}, [], iter(addresses)
    for job, count in counts.items():
        jobs[job] = [next(given) for _ in range(count)]
        places += [(job, task) for task in range(count)]
    if number >= len(places):
        raise ConfigurationError(f"this process is number {number}, and there are {len(places)}, from 0")
    return Place(ClusterSpec(jobs), *places[number])
