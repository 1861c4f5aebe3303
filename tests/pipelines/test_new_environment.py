"""A version built again in an environment made from its record; and what is said where that cannot be made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from carrara.core.errors import UnavailableError
from carrara.core.virtual_environment import make_environment


@pytest.mark.slow
def test_a_version_is_the_same_bytes_in_an_environment_made_from_its_record(fresh):
    fresh.train("late")
    words = [sys.executable, "-m", "carrara", "model", "reproduce", "late@1", "--new-environment", "--json"]
    done = subprocess.run([*words, "-w", str(fresh.root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["equal"]
    assert {one["what"] for one in found["compared"]} >= {"training set", "servable/model.onnx"}
    place = Path(found["made"])
    assert (place / "complete").exists()
    python = str(place / "environment" / "bin" / "python")
    asked = "import importlib.metadata as m; print(m.version('xgboost-cpu'), [d.name for d in m.distributions()])"
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True).stdout
    recorded = fresh.models.record("late@1")["environment"]["distributions"]
    assert told.startswith(recorded["xgboost-cpu"])
    assert "tensorflow" not in told
    again = subprocess.run([*words, "-w", str(fresh.root)], capture_output=True, text=True)
    assert json.loads(again.stdout)["made"] == str(place)


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_said_and_begun_anew(tmp_path):
    recorded = {"msgspec": "0.0.0.dev999"}
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"(?s)environment could not be made.*msgspec.*begins anew"):
            make_environment(tmp_path, ".".join(map(str, sys.version_info[:3])), recorded, [])
        assert not list(tmp_path.glob("*/complete"))
