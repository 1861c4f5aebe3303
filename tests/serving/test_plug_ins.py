"""What others add to serving without a change of it: formats, where versions lie, and which are served (S25)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from servers import publish, served

from carrara.serving.contract import Choice
from carrara.serving.folder import VersionFolder
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.requests import Request

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"


def install(site: Path) -> None:
    """The package of the document, as an installer leaves it: a module, and its metadata with the entry point."""
    section = DOCUMENT.read_text().partition("### A format of your own")[2]
    code, declared = re.findall(r"```(?:python|toml)\n(.+?)```", section, re.DOTALL)[:2]
    assert len([line for line in code.splitlines() if line]) <= 20
    metadata = site / "line_format-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "line_format.py").write_text(code)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: line-format\nVersion: 1.0\n")
    group = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", declared).replace('"', "")
    (metadata / "entry_points.txt").write_text(group)


def test_a_package_of_twenty_lines_adds_a_format(tmp_path):
    install(tmp_path / "site")
    version = tmp_path / "lines" / "3"
    version.mkdir(parents=True)
    (version / "line.json").write_text('{"slope": 2, "intercept": 1}')
    options = ("--model_name=line", f"--model_base_path={tmp_path / 'lines'}")
    with served(*options, cwd=tmp_path, path=tmp_path / "site") as server:
        assert server.predict("line", 4.0) == 9.0
        _, told = server.ask("/v2/models/line")
        assert (told["versions"], [one["name"] for one in told["inputs"]]) == (["3"], ["x"])
        assert "Sent extra: {z}" in str(server.ask("/v1/models/line:predict", {"instances": [{"z": 1}]}))


class Shelf:
    """Versions that lie under names of one's own."""

    def __init__(self, folders: dict[int, Path]) -> None:
        self._folders = folders

    def versions(self):
        return sorted(self._folders)

    @contextmanager
    def opened(self, version):
        yield self._folders[version]


class Even:
    """A policy: every second version."""

    def choose(self, found):
        return [one for one in sorted(found) if one % 2 == 0]


def test_any_object_with_the_methods_says_where_versions_lie_and_which_are_served(tmp_path):
    shelf = Shelf({number: publish(tmp_path, number) for number in (2, 3, 4, 5)})
    folder = VersionFolder("times", shelf, Even())
    manager = ModelManager(lambda: [folder.endpoint()], folder.load)
    manager.start()
    try:
        assert [one.version for one in manager.status(Choice("times"))] == [4, 2]
        (answer,) = Inference(manager).answer_all([Request(Choice("times"), {"x": np.ones(1, np.float32)})])
        assert (answer.version, answer.outputs["y"].tolist()) == (4, [4.0])
    finally:
        manager.stop()
