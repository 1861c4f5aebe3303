"""Where the processes of a fit run: on this machine, or on a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from carrara.core.errors import ConfigurationError
from carrara.core.spark import is_spark, spark_master
from carrara.training.cluster.processes import Handle, local_cluster, popen
from carrara.training.cluster.spec import ClusterSpec

LOCAL = "local"


class Host(Protocol):
    """A place for the processes of one try, each of which finds the work of the fit in a folder (`work.py`)."""

    def cluster(self, jobs: Mapping[str, int]) -> tuple[ClusterSpec, str]:
        """An address for each task, and the one that PyTorch and XGBoost meet at."""

    def start(self, job: str, number: int, module: str, variables: Mapping[str, str]) -> Handle:
        """Start a task, `python -m MODULE FOLDER`."""

    def close(self) -> None:
        """Let go of all that it holds."""


class LocalHost:
    """This machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cluster(self, jobs: Mapping[str, int]) -> tuple[ClusterSpec, str]:
        return local_cluster(jobs), local_cluster({"master": 1}).task_address("master", 0)

    def start(self, job: str, number: int, module: str, variables: Mapping[str, str]) -> Handle:
        return popen([sys.executable, "-m", module, str(self._folder)], variables)

    def close(self) -> None:
        pass


def check_engine(address: str) -> None:
    """Raises ConfigurationError for what is no address of a place that trains."""
    if is_spark(address):
        spark_master(address)
    elif address != LOCAL and address not in ("ray", "ray:local") and not address.startswith("ray://"):
        raise ConfigurationError(
            f"[engine] training is '{address}', which is no place to train",
            hint='"local", "ray://HOST:10001", "ray" for the cluster of RAY_ADDRESS, "ray:local", or "spark:…".',
        )


def host_of(address: str, folder: Path, gpus: int = 0) -> Host:
    """The place that an address names, for work that is in a folder here; on Ray each process has so many `gpus`."""
    check_engine(address)
    # Spark divides the work of its own trainers, and starts no processes of others.
    if address == LOCAL or is_spark(address):
        return LocalHost(folder)
    from carrara.training.cluster.ray import RayHost

    return RayHost(address, folder, gpus)
