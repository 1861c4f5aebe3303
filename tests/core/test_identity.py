"""Names of runs and predictions: UUIDv7, sorted by time, never twice."""

from __future__ import annotations

import time
import uuid

from carrara.core.identity import current_user, new_id, new_ids


def test_an_id_is_a_uuid_of_version_seven_with_this_moment_in_front():
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(text) for text in new_ids(1_000)]
    after = time.time_ns() // 1_000_000
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert all(before <= one.int >> 80 <= after for one in made)


def test_ids_are_never_made_twice():
    assert len(set(new_ids(50_000))) == 50_000
    assert new_ids(0) == []


def test_a_later_millisecond_sorts_later():
    first = new_id()
    while time.time_ns() // 1_000_000 <= uuid.UUID(first).int >> 80:
        pass
    assert new_id() > first


def test_every_random_bit_is_used():
    fixed = (0xF << 76) | (0b11 << 62)
    random_bits = (1 << 80) - 1 & ~fixed
    ones = zeros = 0
    for one in new_ids(500):
        ones |= uuid.UUID(one).int
        zeros |= ~uuid.UUID(one).int
    assert ones & zeros & random_bits == random_bits


def test_a_scheduler_can_say_for_whom_it_works(monkeypatch):
    monkeypatch.setenv("CARRARA_USER", "ada")
    assert current_user() == "ada"
