"""Names of devices, as TensorFlow writes where a variable is: `/job:ps/replica:0/task:1/device:CPU:0`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from carrara.core.errors import DefinitionError

_PART = re.compile(r"/(?:(job):([A-Za-z_]\w*)|(replica|task):(\d+)|(?:device:)?(CPU|GPU|TPU|cpu|gpu|tpu):(\d+|\*))")


@dataclass(frozen=True)
class Device:
    """A device, as far as its name says; None stands for any.

    >>> Device.parse("/job:ps/task:1/device:CPU:0")
    Device(job='ps', replica=None, task=1, type='CPU', number=0)
    >>> str(Device.parse("/job:worker/task:0").merged(Device.parse("/cpu:0")))
    '/job:worker/task:0/device:CPU:0'
    """

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    type: str | None = None
    number: int | None = None

    @classmethod
    def parse(cls, name: str) -> Device:
        """Raises DefinitionError for another text."""
        if _PART.sub("", name):
            raise DefinitionError(f"'{name}' names no device", hint="e.g. /job:ps/task:0/device:CPU:0")
        found: dict[str, Any] = {}
        for _, job, part, number, kind, place in _PART.findall(name):
            if job:
                found["job"] = job
            elif part:
                found[part] = int(number)
            else:
                found |= {"type": kind.upper(), "number": None if place == "*" else int(place)}
        return cls(**found)

    def merged(self, other: Device) -> Device:
        """This device, with what `other` says in the place of what this one says."""
        return replace(self, **{name: value for name, value in vars(other).items() if value is not None})

    def __str__(self) -> str:
        names = (("job", self.job), ("replica", self.replica), ("task", self.task))
        named = "".join(f"/{name}:{value}" for name, value in names if value is not None)
        return named + (f"/device:{self.type}:{'*' if self.number is None else self.number}" if self.type else "")


def placement(names: Iterable[str]) -> str:
    """How many of some variables are where.

    >>> placement(["/job:ps/task:0/device:CPU:0", "/job:ps/task:1/device:CPU:0", "/job:ps/task:0/device:CPU:0"])
    '2 on ps:0, 1 on ps:1'
    """
    counts = Counter(f"{one.job}:{one.task}" for one in map(Device.parse, names))
    return ", ".join(f"{count} on {task}" for task, count in sorted(counts.items()))
