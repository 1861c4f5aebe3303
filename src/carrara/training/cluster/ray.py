"""The processes of a fit on a Ray cluster (Moritz and others, 2018): an actor for each rank, and the files in slices
through Ray's object store."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.training.cluster.processes import Handle
from carrara.training.cluster.ray_rank import Rank
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.work import CHECKPOINT

_ROOM_SECONDS = 60.0
"""How long one waits for room on the cluster."""

_ANSWER_SECONDS = 60.0
"""How long an actor may take to answer."""

_START_SECONDS = 300.0
"""How long it may take until it has come up, on nodes that others are busy on."""

_SLICE_BYTES, _STORE_BYTES = 32 * 2**20, 256 * 2**20


class RayHost:
    """A Ray cluster: `ray://HOST:PORT`, `ray` (the one that RAY_ADDRESS or `ray start` names), or `ray:local`, one on
    this machine that ends with the fit. Each process has so many `gpus`, which Ray lets it see alone.

    Raises MissingExtra where Ray is not installed, UnavailableError for a cluster that does not answer or has no room.
    """

    def __init__(self, address: str, folder: Path, gpus: int = 0) -> None:
        self._address, self._folder, self._gpus = address, folder, gpus
        with ExitStack() as held:
            self._ray = _connected(address, held)
            self._held = held.pop_all()
        self._fit = f"fit-{secrets.token_hex(8)}"
        self._ranks: dict[tuple[str, int], Any] = {}
        self._group: Any = None

    def cluster(self, jobs: Mapping[str, int]) -> tuple[ClusterSpec, str]:
        tasks = [(job, number) for job, count in jobs.items() for number in range(count)]
        cores = cores_each([int(one["Resources"].get("CPU", 0)) for one in self._alive()], len(tasks))
        self._reserve(len(tasks), cores)
        placed = self._ray.util.placement_group_table(self._group)["bundles_to_node_id"]
        hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in self._alive()}
        if len(set(placed.values())) == 1:
            # Those of one node need no network.
            hosts = dict.fromkeys(hosts, "127.0.0.1")
        actor = self._ray.remote(Rank)
        strategy = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        for place, task in enumerate(tasks):
            where = strategy(self._group, placement_group_bundle_index=place)
            options = actor.options(num_cpus=cores, num_gpus=self._gpus, max_concurrency=8, scheduling_strategy=where)
            self._ranks[task] = options.remote(self._fit, hosts[placed[place]])
        # The ranks of a node share one copy of the work.
        first = {placed[place]: task for place, task in reversed(list(enumerate(tasks)))}
        self._get([rank.pids.remote() for rank in self._ranks.values()], _START_SECONDS)
        self._send([self._ranks[task] for task in first.values()])
        found: dict[str, list[str]] = {job: [] for job in jobs}
        master = ""
        for job, number in tasks:
            address, other = self._get(self._ranks[job, number].addresses.remote(2))
            found[job].append(address)
            master = master or other
        return ClusterSpec(found), master

    def start(self, job: str, number: int, module: str, variables: Mapping[str, str]) -> Handle:
        rank = self._ranks[job, number]
        self._get(rank.start.remote(module, dict(variables)))
        checkpoint = self._folder / CHECKPOINT if variables.get("RANK") == "0" else None
        return RayProcess(self._ray, rank, checkpoint)

    def close(self) -> None:
        with suppress(Exception):
            self._ray.get([rank.clear.remote() for rank in self._ranks.values()], timeout=5.0)
        for rank in self._ranks.values():
            with suppress(Exception):
                self._ray.kill(rank)
        with suppress(Exception):
            if self._group is not None:
                self._ray.util.remove_placement_group(self._group)
        self._held.close()

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _reserve(self, tasks: int, cores: int) -> None:
        each = {"CPU": cores, **({"GPU": self._gpus} if self._gpus else {})}
        group = self._ray.util.placement_group([each] * tasks, strategy="SPREAD")
        self._group = group
        if not group.wait(_ROOM_SECONDS):
            free = self._ray.available_resources()
            asked = f"{cores} cores" + (f" and {self._gpus} GPUs" if self._gpus else "")
            there = f"{free.get('CPU', 0):.0f} cores" + (f" and {free.get('GPU', 0):.0f} GPUs" if self._gpus else "")
            raise UnavailableError(
                f"the Ray cluster at {self._address} has no room for {tasks} processes of {asked} each within "
                f"{_ROOM_SECONDS:.0f} s: {there} are free",
                hint="Take fewer --workers, or wait for what runs there: ray status.",
            )

    def _send(self, ranks: Sequence[Any]) -> None:
        """The work's files, a slice at a time, so that no more than a slice is in the object store."""
        self._get([rank.clear.remote() for rank in ranks])
        for path in sorted(self._folder.rglob("*")):
            if path.is_file():
                name = str(path.relative_to(self._folder))
                with path.open("rb") as file:
                    while (data := file.read(_SLICE_BYTES)) or not file.tell():
                        put = self._ray.put(data)
                        self._get([rank.write.remote(name, put) for rank in ranks])
                        if not data:
                            break

    def _get(self, asked: Any, seconds: float = _ANSWER_SECONDS) -> Any:
        try:
            return self._ray.get(asked, timeout=seconds)
        except Exception as error:
            raise UnavailableError(
                f"a process on the Ray cluster at {self._address} does not answer: {_first_line(error)}",
                hint="Every node needs this version of carrara, with the trainer's extra, and of Python and Ray.",
            ) from error


class RayProcess:
    """A rank's process, as a `subprocess.Popen` that is elsewhere; where its actor is lost it was killed."""

    def __init__(self, ray: Any, rank: Any, checkpoint: Path | None) -> None:
        self._ray, self._rank, self._checkpoint = ray, rank, checkpoint
        self._ended = threading.Event()
        self.returncode: int | None = None
        self.stdout = self._lines()

    @property
    def pids(self) -> tuple[int, int | None]:
        """Of the actor and of its process, on their node."""
        found: tuple[int, int | None] = self._ray.get(self._rank.pids.remote(), timeout=_ANSWER_SECONDS)
        return found

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired("a process on Ray", timeout or 0.0)
        return self.returncode

    def terminate(self) -> None:
        self._rank.signal.remote(int(signal.SIGTERM))

    def kill(self) -> None:
        with suppress(Exception):
            self._ray.kill(self._rank)

    def _lines(self) -> Iterator[str]:
        status: int | None = None
        while status is None:
            try:
                asked = self._rank.poll.remote(self._checkpoint is not None)
                lines, status, checkpoint = self._ray.get(asked, timeout=_ANSWER_SECONDS)
                if checkpoint is not None and self._checkpoint is not None:
                    _replace(self._checkpoint, checkpoint)
            except Exception as error:
                lines, status = [f"its actor was lost: {_first_line(error)}"], -int(signal.SIGKILL)
            yield from lines
        self.returncode = status
        self._ended.set()


def cores_each(nodes: Sequence[int], tasks: int) -> int:
    """How many cores each of so many tasks can have, of nodes with so many.

    >>> cores_each([4, 4, 2], 2), cores_each([4, 4, 2], 3), cores_each([2], 2), cores_each([1], 2)
    (4, 2, 1, 1)
    """
    most = max(nodes, default=1)
    return next((cores for cores in range(most, 1, -1) if sum(node // cores for node in nodes) >= tasks), 1)


def _connected(address: str, held: ExitStack) -> Any:
    """Ray, connected as long as is `held` where it was not before; its own usage reports are switched off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", extra="ray", purpose="training on a Ray cluster")
    require("ray.util.scheduling_strategies", extra="ray", purpose="training on a Ray cluster")
    if ray.is_initialized():
        return ray
    local: dict[str, Any] = {}
    if address == "ray:local":
        held.callback(_read_variables, ray)
        held.enter_context(_variables())
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "object_store_memory": _STORE_BYTES}
    _read_variables(ray)
    where = {"ray": "auto", "ray:local": "local"}.get(address, address)
    # Where it fails, too: a client that has found no cluster stands before the next one until it is shut down (2.60).
    held.callback(ray.shutdown)
    kept = signal.getsignal(signal.SIGTERM) if threading.current_thread() is threading.main_thread() else None
    try:
        ray.init(address=where, log_to_driver=False, logging_level="error", **local)
    except Exception as error:
        raise UnavailableError(
            f"the Ray cluster at {address} does not answer: {_first_line(error)}",
            hint="ray status says whether one runs; RAY_AUTH_MODE and RAY_AUTH_TOKEN must be those of the cluster.",
        ) from error
    finally:
        if kept is not None:
            signal.signal(signal.SIGTERM, kept)
    return ray


@contextmanager
def _variables() -> Iterator[None]:
    """What a cluster of this machine finds in the environment where nothing else is there; one that is asked later has
    a token of its own."""
    # Ray listens on all interfaces, whatever its node's address is (2.60): a token keeps others out. And its processes
    # give way to all others, and would not be heard of for long on a busy machine; those without Ray do not.
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_worker_niceness": "0"}
    mine = {name: value for name, value in given.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


def _read_variables(ray: Any) -> None:
    """Make Ray read whether it sends a token, and which, from the environment as it is now: it does so once a process
    (2.60), and would ask its own cluster without a token after one that has none."""
    ray._raylet.Config.initialize("")
    if (loader := getattr(ray._raylet, "AuthenticationTokenLoader", None)) is not None:
        loader.instance().reset_cache()


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
