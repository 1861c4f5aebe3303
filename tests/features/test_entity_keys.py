"""The bytes of entity keys: equal for equal keys, however they were given, and for no others."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings, strategies as st

from carrara.features.entities import Entity, key_bytes

TEXTS = st.text(alphabet=st.sampled_from("ab\x1f\x00\\é"), max_size=4)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20)
NAMES = ("origin", "dest")


def columns(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [pair[place] for pair in pairs] for place, name in enumerate(NAMES)}


@settings(derandomize=True, deadline=None)
@given(pairs=PAIRS)
def test_two_composite_keys_have_the_same_bytes_only_when_they_are_the_same(pairs):
    made = dict(zip(pairs, key_bytes(columns(pairs), NAMES), strict=True))
    assert len(set(made.values())) == len(set(pairs))


@settings(derandomize=True, deadline=None)
@given(pairs=PAIRS)
def test_a_frame_and_a_request_give_the_same_bytes(pairs):
    frame = pl.DataFrame(columns(pairs), schema=dict.fromkeys(NAMES, pl.String()))
    request = {name: np.array(values, dtype=object) for name, values in columns(pairs).items()}
    assert key_bytes(frame, NAMES) == key_bytes(request, NAMES)


@settings(derandomize=True, deadline=None)
@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_whole_numbers_have_the_same_bytes_in_a_frame_and_in_a_request(numbers):
    frame = pl.DataFrame({"id": numbers}, schema={"id": pl.Int64()})
    assert key_bytes(frame, ("id",)) == key_bytes({"id": np.array(numbers, dtype=np.int64)}, ("id",))


def test_a_missing_key_is_not_the_entity_that_is_called_none():
    missing, called = key_bytes({"name": np.array([None, "None"], dtype=object)}, ("name",))
    assert missing != called


def test_keys_are_joined_in_the_order_in_which_the_entity_declares_them():
    given_in_another_order = {"dest": ["SFO"], "origin": ["JFK"]}
    assert key_bytes(given_in_another_order, Entity("route", NAMES).keys) == key_bytes(
        {"origin": ["JFK"], "dest": ["SFO"]}, NAMES
    )
