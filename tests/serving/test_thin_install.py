"""The wheel in a folder with four other libraries: it opens an exported model and answers as the server does (M36)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import carrara

ROOT = Path(__file__).parents[2]
THIN = ("lazy-loader", "ml-dtypes", "msgspec", "numpy", "onnxruntime")
"""What docs/models.md tells to install beside Carrara without its dependencies."""

ASK = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
begun = time.perf_counter()
import carrara
with carrara.load_model(sys.argv[2]) as model:
    answers = model.predict(json.loads(sys.argv[3]))["probability"].tolist()
seconds = time.perf_counter() - begun
print(json.dumps({"answers": answers, "seconds": seconds, "modules": sorted(sys.modules)}))
"""


def wheel(folder: Path) -> Path:
    """The wheel that a release would have, of a copy: a build leaves files beside its sources."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src" / "carrara", folder / "src" / "carrara", ignore=shutil.ignore_patterns("__pycache__"))
    build = "import setuptools.build_meta as b; print(b.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (made,) = (folder / "dist").glob("*.whl")
    return made


def needed(names: tuple[str, ...]) -> set[str]:
    """The distributions, and all that they need."""
    found, left = set(), list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name not in found:
            found.add(name)
            requirements = map(Requirement, importlib.metadata.requires(name) or ())
            left += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def installed(made: Path, site: Path) -> int:
    """Put the wheel and what it needs at the least into a folder; the bytes of all of it."""
    zipfile.ZipFile(made).extractall(site)
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    for name in needed(THIN):
        files = importlib.metadata.files(name) or []
        size += sum(file.locate().stat().st_size for file in files if file.locate().is_file())
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            os.symlink(files[0].locate().parents[len(files[0].parts) - 1] / top, site / top)
    return size


@pytest.mark.slow
def test_the_wheel_beside_four_libraries_answers_as_the_workspace_does(trained, tmp_path):
    exported = trained.models.export("late@1", tmp_path / "late.carrara")
    names = [one.name for one in carrara.load_model(exported).signatures["serving_default"].inputs]
    random = np.random.default_rng(3)
    rows = {name: random.uniform(0, 60, 200).round(3).tolist() for name in names}
    rows[names[0]][::7] = [None] * len(rows[names[0]][::7])
    with carrara.load_model(exported) as model:
        wanted = model.predict(rows)["probability"].tolist()
    site = tmp_path / "site"
    size = installed(wheel(tmp_path), site)
    command = [sys.executable, "-I", "-S", "-c", ASK, str(site), str(exported), json.dumps(rows)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answers"] == wanted
    loaded = {name.partition(".")[0] for name in told["modules"]}
    assert loaded & {path.name for path in site.iterdir()} <= {
        *("carrara", "lazy_loader", "ml_dtypes", "msgspec", "numpy", "onnxruntime", "packaging")
    }
    own = [name for name in told["modules"] if name.startswith("carrara.")]
    assert not [name for name in own if name.split(".")[1] in ("training", "pipelines", "monitoring", "metadata")]
    print(f"{size / 1e6:.0f} MB, {len(own)} modules of carrara, {told['seconds']:.2f} s to the first answer")
    assert size < 250e6
