"""A function's digest changes when, and only when, what it computes may."""

from __future__ import annotations

import subprocess
import sys

import pytest

from carrara.core.definitions import load_recorded_definitions
from carrara.core.digests import digest_function

SOURCE = '''
import carrara

LIMIT = 5


def helper(x):
    return x + LIMIT


@carrara.dataset(inputs=("a",))
def made(a):
    """What it is."""
    # a comment
    return helper(a)
'''


def digest_of(text: str) -> str:
    return digest_function(load_recorded_definitions({"d.py": text}, "test").of_kind("dataset")["made"].function)


@pytest.mark.parametrize(
    "change", [("# a comment", "# another"), ('"""What it is."""', '"""It is."""'), ("\n\n\n", "\n\n\n\n")]
)
def test_words_about_the_code_change_nothing(change):
    assert change[0] in SOURCE
    assert digest_of(SOURCE.replace(*change)) == digest_of(SOURCE)


@pytest.mark.parametrize(
    "change", [("LIMIT = 5", "LIMIT = 6"), ("x + LIMIT", "x - LIMIT"), ("helper(a)", "helper(helper(a))")]
)
def test_code_helpers_and_constants_count(change):
    assert change[0] in SOURCE
    assert digest_of(SOURCE.replace(*change)) != digest_of(SOURCE)


def test_another_process_finds_the_same_digests(tmp_path):
    """Digests name versions on disk: a hash seed must not reach them."""
    (tmp_path / "d.py").write_text(SOURCE + "\nNAMES = {'b', 'a', 'c'}\n")
    code = (
        "import sys\nfrom pathlib import Path\nimport polars as pl\n"
        "from carrara.core.definitions import load_definitions, spec_digest\n"
        "from carrara.data.table_digest import digest_frame\n"
        "made = load_definitions([Path(sys.argv[1])]).of_kind('dataset')['made']\n"
        "print(spec_digest(made), digest_frame(pl.DataFrame({'a': [1, None], 's': ['x', 'é']})))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "d.py")],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1
