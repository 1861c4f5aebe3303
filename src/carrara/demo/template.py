"""Writes the files of a new workspace from a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template

from carrara.core.clock import parse_time
from carrara.core.config import FILE_NAME
from carrara.core.errors import CarraraError, NotFoundError

TEMPLATES = ("empty", "flights")

_CONFIGURATION = """\
# Every key is optional; these are the defaults. Unknown keys are refused.
[workspace]
name = "{name}"
definitions = ["definitions.py"]

[stores]
metadata  = "sqlite:///.carrara/metadata.db"
lake      = ".carrara/lake"
artifacts = ".carrara/artifacts"
online    = "lmdb:.carrara/online"

[serving]
host = "127.0.0.1"
grpc_port = 8500
rest_port = 8501
"""


@dataclass(frozen=True)
class Period:
    """Which flights the demo reads, from when they are held out, and the stretches that it lives through: when each
    begins, and for how many days."""

    first_day: str
    last_day: str
    validation_from: str
    test_from: str
    least_roc_auc: str
    lived: tuple[tuple[str, int], ...]

    @property
    def stretches(self) -> list[tuple[datetime, datetime]]:
        """What is lived through, [from, to)."""
        return [(parse_time(day), parse_time(day) + timedelta(days=days)) for day, days in self.lived]

    @property
    def live_from(self) -> datetime:
        return self.stretches[0][0]

    @property
    def live_to(self) -> datetime:
        """What the online store is as of when the demo ends."""
        return self.stretches[-1][1]


_AUTUMN_THEN_WINTER = (("2013-10-01", 11), ("2013-12-08", 10))
"""A real change, and all of it held out: mild days, then snow and the days before Christmas."""

YEAR = Period("2013-01-01", "2014-01-02", "2013-09-01", "2013-10-01", "0.72", lived=_AUTUMN_THEN_WINTER)
MONTH = Period("2013-01-01", "2013-02-01", "2013-01-19", "2013-01-22", "0.68", lived=(("2013-01-22", 8),))


def write_template(folder: Path, template: str, period: Period = YEAR) -> None:
    """Write a workspace with the template's files; refuses a folder that is a workspace already."""
    if template not in TEMPLATES:
        raise NotFoundError("template", template, TEMPLATES)
    texts = {}
    for source in (files("carrara.demo") / template).iterdir():
        if source.name.endswith(".tmpl"):
            text = Template(source.read_text(encoding="utf-8"))
            filled = text.substitute(vars(period), ask_at=f"{period.live_to:%Y-%m-%dT%H:%M}")
            texts[source.name.removesuffix(".tmpl")] = filled
    write_workspace(folder, texts)


def write_workspace(folder: Path, texts: Mapping[str, str]) -> None:
    """Write carrara.toml, .gitignore and the files of `texts`; refuses a folder that is a workspace already."""
    if (folder / FILE_NAME).exists():
        raise CarraraError(f"{folder} is a workspace already", hint="Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ".gitignore").write_text(".carrara/\nreports/\n")
    # Last, because it is what makes the folder a workspace: killed before, the next call starts again.
    (folder / FILE_NAME).write_text(_CONFIGURATION.format(name=folder.resolve().name))
