"""The processes that share a fit: how many, of which jobs, and where they run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.training.cluster.hosts import LOCAL, check_engine
from carrara.training.cluster.spec import ClusterSpec, read_cluster


@dataclass(frozen=True)
class Team:
    """So many `workers`, with so many parameter `servers`, where `engine` says; or the servers of a cluster that runs,
    by the path of its `cluster` file. An `evaluator` beside them measures each epoch while the next one is trained. On
    Ray each process has so many `gpus`. Where workers are lost for good, `min_workers` are enough; with 0 all are
    needed."""

    workers: int = 1
    servers: int = 0
    cluster: str | None = None
    engine: str = LOCAL
    evaluator: bool = False
    gpus: int = 0
    min_workers: int = 0

    @classmethod
    def of(
        cls,
        workers: int = 1,
        servers: int = 0,
        cluster: str | Path | None = None,
        engine: str = LOCAL,
        evaluator: bool = False,
        gpus: int = 0,
        min_workers: int = 0,
    ) -> Team:
        """Raises ConfigurationError where a cluster's file says another thing, or cannot be used, and for an evaluator
        of no parameter servers."""
        check_engine(engine)
        if evaluator and not servers and cluster is None:
            raise ConfigurationError(
                "an evaluator measures what parameter servers hold, and there are none",
                hint="Train with --ps 1, or --cluster; workers without servers measure their own rows together.",
            )
        if min_workers > workers:
            raise ConfigurationError(f"at least {min_workers} workers are to go on, and there are {workers}")
        if cluster is None:
            return cls(workers, servers, engine=engine, evaluator=evaluator, gpus=gpus, min_workers=min_workers)
        if workers > 1 or servers or min_workers:
            raise ConfigurationError(f"{cluster} says how many workers and servers there are: leave out their numbers")
        for job in ("ps", "worker"):
            if job not in (jobs := read_cluster(Path(cluster)).jobs):
                raise ConfigurationError(
                    f"{cluster} names no job '{job}', but {', '.join(jobs)}",
                    hint="A fit by a cluster needs parameter servers (ps) and workers (worker).",
                )
        return cls(cluster=str(Path(cluster).resolve()), engine=engine, evaluator=evaluator)

    @property
    def is_alone(self) -> bool:
        return self.workers == 1 and not self.has_servers

    @property
    def has_servers(self) -> bool:
        return bool(self.servers or self.cluster)

    def fewer(self) -> Team | None:
        """The team without one of its workers, where that is enough."""
        enough = self.cluster is None and self.workers > self.min_workers > 0
        return replace(self, workers=self.workers - 1) if enough else None

    def addresses(self) -> ClusterSpec | None:
        """Those of the cluster that runs."""
        return None if self.cluster is None else read_cluster(Path(self.cluster))

    def spec(self) -> dict[str, Any]:
        """What a fit depends on: it is the same wherever the processes run."""
        spec = {"workers": self.workers, "servers": self.servers, "cluster": self.cluster}
        more = {"evaluator": self.evaluator, "min_workers": self.min_workers}
        return {**spec, **{name: value for name, value in more.items() if value}}


ALONE = Team()
"""One process, this one."""
