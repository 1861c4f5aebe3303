"""How a Keras net is trained: by one process, by workers that mirror one another, or with parameter servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from carrara.training.cluster.spec import ClusterSpec
from carrara.training.trainers.base import Array

_AHEAD = 64
"""How many steps for each worker are sent before the coordinator waits: each holds its rows."""


class Strategy(Protocol):
    """Where variables are, and who takes steps; `servers` are those that large tables are shared among."""

    servers: int

    def scope(self) -> Any:
        """A context in which variables are made."""

    def wrapped(self, function: Callable[..., None]) -> Callable[..., None]:
        """A step, as TensorFlow traces it."""

    def summed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A number of a process's rows, as that of all processes' rows."""

    def mine(self, values: Array) -> Array:
        """This process's share of some rows."""

    def run(self, step: Any, *arguments: Any) -> None:
        """Take a step, or have it taken."""

    def total(self, function: Any, calls: Iterable[tuple[Any, ...]]) -> float:
        """The sum of a function over calls."""

    def settle(self) -> None:
        """Wait until all steps are taken."""


class Alone:
    """One process, with all cores."""

    servers = 1

    def __init__(self, tensorflow: Any) -> None:
        self._strategy = tensorflow.distribute.get_strategy()

    def scope(self) -> Any:
        return self._strategy.scope()

    def wrapped(self, function: Callable[..., None]) -> Callable[..., None]:
        return function

    def summed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def mine(self, values: Array) -> Array:
        return values

    def run(self, step: Any, *arguments: Any) -> None:
        step(*arguments)

    def total(self, function: Any, calls: Iterable[tuple[Any, ...]]) -> float:
        return sum(float(function(*arguments)) for arguments in calls)

    def settle(self) -> None:
        pass


class MirroredHere(Alone):
    """One process with several devices, each with every n-th row of a batch; gradients are added up."""

    def __init__(self, tensorflow: Any, devices: Sequence[str]) -> None:
        self._distribute = tensorflow.distribute
        self._strategy = tensorflow.distribute.MirroredStrategy(list(devices))

    def wrapped(self, function: Callable[..., None]) -> Callable[..., None]:
        return lambda *arguments: self._strategy.run(self._shared, args=(function, *arguments))

    def summed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: self._strategy.reduce(
            "sum", self._strategy.run(self._shared, args=(function, *arguments)), axis=None
        )

    def _shared(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function of this device's rows, and of what is no rows."""
        place = self._distribute.get_replica_context().replica_id_in_sync_group
        times = self._strategy.num_replicas_in_sync
        return function(*(one if one.shape.rank == 0 else one[place::times] for one in arguments))


class Mirrored(Alone):
    """Workers with the same variables, each with every n-th row of a batch; gradients are added up."""

    def __init__(self, tensorflow: Any, rank: int, workers: int) -> None:
        self._rank, self._workers = rank, workers
        self._strategy = tensorflow.distribute.MultiWorkerMirroredStrategy()

    def wrapped(self, function: Callable[..., None]) -> Callable[..., None]:
        return lambda *arguments: self._strategy.run(function, args=arguments)

    def summed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: self._strategy.reduce("sum", self._strategy.run(function, args=arguments), axis=None)

    def mine(self, values: Array) -> Array:
        return values[self._rank :: self._workers]


class Coordinated(Alone):
    """Variables on parameter servers; steps are sent to whichever worker is free, and again when it is lost."""

    def __init__(self, tensorflow: Any, cluster: ClusterSpec) -> None:
        distribute = tensorflow.distribute
        jobs = {job: tasks for job, tasks in cluster.as_dict().items() if job in ("ps", "worker")}
        spec = tensorflow.train.ClusterSpec(jobs)
        resolver = distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer="grpc")
        self._strategy = distribute.ParameterServerStrategy(resolver)
        self._coordinator = distribute.coordinator.ClusterCoordinator(self._strategy)
        self._ahead, self._most = 0, _AHEAD * cluster.num_tasks("worker")
        self.servers = cluster.num_tasks("ps")

    def wrapped(self, function: Callable[..., None]) -> Callable[..., None]:
        return lambda *arguments: self._strategy.run(function, args=arguments)

    def run(self, step: Any, *arguments: Any) -> None:
        self._coordinator.schedule(step, args=arguments)
        self._ahead += 1
        if self._ahead >= self._most:
            self.settle()

    def total(self, function: Any, calls: Iterable[tuple[Any, ...]]) -> float:
        self.settle()
        asked = [self._coordinator.schedule(function, args=arguments) for arguments in calls]
        self.settle()
        return sum(float(one) for one in self._coordinator.fetch(asked))

    def settle(self) -> None:
        self._coordinator.join()
        self._ahead = 0


def joined_strategy(tensorflow: Any) -> Strategy:
    """The strategy of a process of a fit, by what its environment says of the cluster."""
    cluster, job, task = ClusterSpec.from_tf_config(os.environ["TF_CONFIG"])
    if job == "chief" and "ps" in cluster.jobs:
        return Coordinated(tensorflow, cluster)
    return Mirrored(tensorflow, task, cluster.num_tasks("worker"))
