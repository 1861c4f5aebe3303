"""Jobs and tasks by their addresses, as TensorFlow's `ClusterSpec` has them, and `TF_CONFIG`, which tells a task who it
is (Abadi and others, 2016)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.core.errors import ConfigurationError, DefinitionError, NotFoundError


@dataclass(frozen=True)
class ClusterSpec:
    """The addresses of each job's tasks; a job is a sequence, or a mapping from the numbers of its tasks.

    >>> cluster = ClusterSpec({"ps": ["10.0.0.1:2222"], "worker": ["10.0.0.2:2222", "10.0.0.3:2222"]})
    >>> cluster.num_tasks("worker"), cluster.task_address("worker", 1)
    (2, '10.0.0.3:2222')
    """

    jobs: Mapping[str, Sequence[str] | Mapping[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for job in self.jobs:
            for task, address in self._tasks(job).items():
                host, separator, port = address.rpartition(":")
                if not (host and separator and port.isdigit()):
                    raise DefinitionError(
                        f"task {task} of job '{job}' has the address '{address}', and HOST:PORT is one"
                    )

    def as_dict(self) -> dict[str, list[str] | dict[int, str]]:
        """As TensorFlow's `ClusterSpec` takes it."""
        return {job: dict(tasks) if isinstance(tasks, Mapping) else list(tasks) for job, tasks in self.jobs.items()}

    def num_tasks(self, job: str) -> int:
        return len(self._tasks(job))

    def task_indices(self, job: str) -> list[int]:
        return sorted(self._tasks(job))

    def task_address(self, job: str, task: int) -> str:
        """HOST:PORT of a task; NotFoundError names those that there are."""
        tasks = self._tasks(job)
        if task not in tasks:
            raise NotFoundError(f"task of job '{job}'", str(task), map(str, tasks))
        return tasks[task]

    def tf_config(self, job: str, task: int) -> str:
        """The value of `TF_CONFIG` for one task."""
        self.task_address(job, task)
        return json.dumps({"cluster": self.as_dict(), "task": {"type": job, "index": task}})

    @classmethod
    def from_tf_config(cls, value: str) -> tuple[ClusterSpec, str, int]:
        """The cluster, and which job and task this process is. Raises DefinitionError for another text."""
        try:
            found = json.loads(value)
            jobs, task = found["cluster"], found["task"]
            return cls(jobs), str(task["type"]), int(task["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise DefinitionError(f"TF_CONFIG is not what a task of a cluster is told by: {error!r}") from error

    @classmethod
    def from_cluster_def(cls, message: Any) -> ClusterSpec:
        """The cluster of TensorFlow's message `ClusterDef`, as its `ClusterSpec.as_cluster_def` gives it."""
        return cls({job.name: {int(task): str(address) for task, address in job.tasks.items()} for job in message.job})

    def _tasks(self, job: str) -> dict[int, str]:
        if job not in self.jobs:
            raise NotFoundError("job", job, self.jobs)
        tasks = self.jobs[job]
        return {int(task): a for task, a in tasks.items()} if isinstance(tasks, Mapping) else dict(enumerate(tasks))


def read_cluster(path: Path) -> ClusterSpec:
    """The jobs of a `cluster.toml`: a section `[jobs]` with the addresses of each. ConfigurationError for another."""
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {path}", hint='It says: [jobs], ps = ["HOST:PORT"], worker = ["HOST:PORT", "HOST:PORT"]'
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    jobs = found.pop("jobs", None)
    if found or not isinstance(jobs, dict) or not jobs:
        raise ConfigurationError(
            f"{path} has {', '.join(found) or 'no jobs'}, and one section [jobs] is what it holds",
            hint='e.g. [jobs], ps = ["10.0.0.1:2222"], worker = ["10.0.0.2:2222"]',
        )
    for job, addresses in jobs.items():
        if not (isinstance(addresses, list) and addresses and all(isinstance(one, str) for one in addresses)):
            raise ConfigurationError(f"job '{job}' of {path} is {addresses!r}, and a list of HOST:PORT is expected")
    return ClusterSpec(jobs)
