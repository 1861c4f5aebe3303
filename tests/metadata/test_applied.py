"""Applied definitions: replaced together, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from carrara.metadata.applied import applied_specs, replace_applied
from carrara.metadata.store import Metadata
from carrara.metadata.tables import definitions

A, B = {"source": "a.csv"}, {"source": "b.csv"}


@pytest.fixture
def metadata(tmp_path):
    made = Metadata(f"sqlite:///{tmp_path}/m.db")
    yield made
    made.close()


def history(metadata: Metadata) -> list[tuple[str, int, dict, bool]]:
    with metadata.begin() as connection:
        rows = connection.execute(select(definitions).order_by(definitions.c.name, definitions.c.version))
        return [(row.name, row.version, row.spec, row.removed_at is None) for row in rows]


def test_what_was_applied_is_what_is_read(metadata):
    assert applied_specs(metadata) == {}
    assert replace_applied(metadata, {"dataset:a": A, "dataset:b": B}, planned_from={})
    assert applied_specs(metadata) == {"dataset:a": A, "dataset:b": B}


def test_only_what_changed_gets_a_new_version_and_the_old_ones_stay_in_the_history(metadata):
    first = {"dataset:a": A, "dataset:b": B}
    replace_applied(metadata, first, planned_from={})
    second = {"dataset:a": B, "dataset:b": B}
    assert replace_applied(metadata, second, planned_from=first)
    assert replace_applied(metadata, {"dataset:a": B}, planned_from=second)
    assert history(metadata) == [("a", 1, A, False), ("a", 2, B, True), ("b", 1, B, False)]


def test_a_definition_that_comes_back_goes_on_with_its_numbers(metadata):
    replace_applied(metadata, {"dataset:a": A}, planned_from={})
    replace_applied(metadata, {}, planned_from={"dataset:a": A})
    replace_applied(metadata, {"dataset:a": A}, planned_from={})
    assert history(metadata) == [("a", 1, A, False), ("a", 2, A, True)]


def test_a_plan_that_was_overtaken_changes_nothing(metadata):
    replace_applied(metadata, {"dataset:a": A}, planned_from={})
    before = history(metadata)
    assert not replace_applied(metadata, {"dataset:b": B}, planned_from={})
    assert history(metadata) == before


def test_a_failure_half_way_leaves_what_was_applied(metadata):
    """The first of the two can be written, the second cannot."""
    before = {"dataset:a": A, "dataset:old": A}
    replace_applied(metadata, before, planned_from={})
    rows = history(metadata)
    with pytest.raises((TypeError, StatementError)):
        replace_applied(metadata, {"dataset:a": B, "dataset:b": {"x": object()}}, planned_from=before)
    assert history(metadata) == rows


def test_of_many_who_apply_one_plan_at_once_one_succeeds(metadata):
    code = (
        "import sys\nfrom carrara.metadata.applied import replace_applied\n"
        "from carrara.metadata.store import Metadata\n"
        "m = Metadata(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "print(replace_applied(m, {'dataset:a': {'by': sys.argv[2]}}, planned_from={}))\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    others = [subprocess.Popen([sys.executable, "-c", code, metadata.url, str(n)], **pipes) for n in range(4)]
    assert [other.stdout.readline() for other in others] == ["ready\n"] * 4
    for other in others:
        other.stdin.write("go\n")
        other.stdin.flush()
    said = [other.communicate()[0].strip() for other in others]
    assert sorted(said) == ["False", "False", "False", "True"]
    assert applied_specs(metadata) == {"dataset:a": {"by": str(said.index("True"))}}
