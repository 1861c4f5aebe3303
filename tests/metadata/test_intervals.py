"""P12: an interval is done by one, once, however many want to."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from carrara.metadata.intervals import Claim, claim, extend, finish, list_intervals
from carrara.metadata.store import Metadata

NOW = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def metadata(tmp_path):
    made = Metadata(f"sqlite:///{tmp_path}/m.db")
    yield made
    made.close()


def of(owner: str, *hours: int) -> Claim:
    return Claim("feature view", "v", tuple(NOW + n * HOUR for n in hours), owner)


def test_what_is_being_done_or_is_done_is_not_begun_again(metadata):
    assert claim(metadata, of("a", 0), NOW, HOUR)
    assert not claim(metadata, of("b", 0), NOW, HOUR)
    assert not claim(metadata, of("b", 0, 1), NOW, HOUR)
    finish(metadata, of("a", 0), NOW)
    assert not claim(metadata, of("b", 0), NOW + 9 * HOUR, HOUR)
    assert [(one.state, one.owner) for one in list_intervals(metadata, "feature view", "v")] == [("complete", "a")]


def test_what_failed_is_begun_again_and_counted(metadata):
    claim(metadata, of("a", 0), NOW, HOUR)
    finish(metadata, of("a", 0), NOW, error="the disk is full")
    assert list_intervals(metadata, "feature view", "v")[0].error == "the disk is full"
    assert claim(metadata, of("b", 0), NOW, HOUR)
    (found,) = list_intervals(metadata, "feature view", "v")
    assert (found.state, found.attempts, found.error) == ("running", 2, None)


def test_what_a_dead_scheduler_held_is_taken_over_when_its_lease_is_over_and_not_before(metadata):
    claim(metadata, of("dead", 0), NOW, HOUR)
    assert not claim(metadata, of("b", 0), NOW + HOUR - timedelta(seconds=1), HOUR)
    assert claim(metadata, of("b", 0), NOW + HOUR, HOUR)
    finish(metadata, of("dead", 0), NOW + HOUR)
    assert list_intervals(metadata, "feature view", "v")[0].state == "running"
    finish(metadata, of("b", 0), NOW + HOUR)
    assert list_intervals(metadata, "feature view", "v")[0].state == "complete"


def test_who_extends_a_lease_keeps_it(metadata):
    claim(metadata, of("a", 0), NOW, HOUR)
    extend(metadata, of("a", 0), NOW + 3 * HOUR)
    extend(metadata, of("b", 0), NOW + 9 * HOUR)
    assert not claim(metadata, of("b", 0), NOW + 2 * HOUR, HOUR)
    assert claim(metadata, of("b", 0), NOW + 3 * HOUR, HOUR)


def test_a_claim_takes_all_of_its_intervals_or_none(metadata):
    claim(metadata, of("a", 2), NOW, HOUR)
    assert not claim(metadata, of("b", 0, 1, 2), NOW, HOUR)
    assert len(list_intervals(metadata, "feature view", "v")) == 1


def test_of_many_processes_that_want_the_same_intervals_one_gets_each(metadata, tmp_path):
    code = (
        "import sys\nfrom datetime import UTC, datetime, timedelta\n"
        "from carrara.metadata.intervals import Claim, claim\nfrom carrara.metadata.store import Metadata\n"
        "m, now = Metadata(sys.argv[1]), datetime(2024, 1, 2, tzinfo=UTC)\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "moments = [now + timedelta(hours=n) for n in range(40)]\n"
        "def won(at):\n    return claim(m, Claim('k', 'v', (at,), sys.argv[2]), now, timedelta(1))\n"
        "print([n for n, at in enumerate(moments) if won(at)])\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/m.db"]
    others = [subprocess.Popen([*command, str(n)], **pipes) for n in range(3)]
    assert [other.stdout.readline() for other in others] == ["ready\n"] * 3
    for other in others:
        other.stdin.write("go\n")
        other.stdin.flush()
    won = [eval(other.communicate(timeout=60)[0]) for other in others]
    assert sorted(n for one in won for n in one) == list(range(40))
