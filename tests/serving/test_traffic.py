"""Traffic: shares within binomial bounds, keys that always meet the same version, and draws that are independent."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from carrara.serving.traffic import Traffic, draw


def asked(**inputs) -> dict[str, np.ndarray]:
    return {name: np.array([value], dtype=object) for name, value in inputs.items()}


def share_of(traffic: Traffic, version: int | None, keys) -> float:
    return np.mean([traffic.version(asked(user=key)) == version for key in keys])


def within(share: float, expected: float, count: int) -> bool:
    """Within what a binomial of `count` comes to in all but one of 15,000 cases."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_a_share_is_within_binomial_bounds_by_key_and_by_chance(share):
    keys = [f"u{number}" for number in range(10_000)]
    assert within(share_of(Traffic(((2, share),), ("user",), salt="late"), 2, keys), share, len(keys))
    assert within(share_of(Traffic(((2, share),)), 2, keys), share, len(keys))


def test_the_arms_of_a_split_have_their_shares_and_the_primary_the_rest():
    traffic, keys = Traffic(((2, 0.3), (3, 0.2)), ("user",), salt="late"), range(10_000)
    assert within(share_of(traffic, 2, keys), 0.3, 10_000)
    assert within(share_of(traffic, 3, keys), 0.2, 10_000)
    assert within(share_of(traffic, None, keys), 0.5, 10_000)


def test_a_key_meets_the_same_version_in_every_process_however_it_is_written():
    traffic = Traffic(((2, 0.5),), ("user",), salt="late")
    for number in range(200):
        told = {
            traffic.version({"user": np.array([value])})
            for value in (number, float(number), str(number), str(number).encode())
        }
        assert len(told) == 1
    code = "from carrara.serving.traffic import draw; print(draw('late', ['d1', 'ü']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == draw("late", ["d1", "ü"])


def test_who_met_a_canary_of_a_tenth_meets_it_when_it_has_a_half():
    small, large = (Traffic(((2, share),), ("user",), salt="late/late@2") for share in (0.1, 0.5))
    keys = [key for key in range(2_000) if small.version(asked(user=key)) == 2]
    assert keys
    assert {large.version(asked(user=key)) for key in keys} == {2}


def test_the_draws_of_two_splits_are_independent():
    one, other = (Traffic(((2, 0.5),), ("user",), salt=salt) for salt in ("late/late@2", "late/late@3"))
    both = np.mean([one.version(asked(user=k)) == other.version(asked(user=k)) == 2 for k in range(10_000)])
    assert within(both, 0.25, 10_000)


def test_a_request_without_the_key_is_led_by_chance_and_keys_that_join_to_the_same_text_differ():
    traffic = Traffic(((2, 0.5),), ("user",), salt="late")
    assert {traffic.version(asked(name="u")) for _ in range(100)} == {2, None}
    assert draw("late", ["a", "b"]) != draw("late", ["ab"])
