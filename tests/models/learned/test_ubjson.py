"""Universal Binary JSON, beside the JSON that XGBoost writes of the same model."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
import xgboost

from carrara.core.errors import StorageError
from carrara.models.learned.ubjson import decode

FEATURES = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
BOOSTER = xgboost.train({"max_depth": 3}, xgboost.QuantileDMatrix(FEATURES, FEATURES[:, 0] > 0), 3)
SAVED = bytes(BOOSTER.save_raw("ubj"))


def plain(value):
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return [plain(one) for one in value] if isinstance(value, list) else value


def test_a_booster_in_binary_is_the_one_in_json():
    found, expected = plain(decode(SAVED)), json.loads(bytes(BOOSTER.save_raw("json")))

    def compared(one, other, where):
        assert type(one) is type(other) or {type(one), type(other)} <= {int, float}, where
        if isinstance(one, dict):
            assert one.keys() == other.keys(), where
            for name in one:
                compared(one[name], other[name], f"{where}.{name}")
        elif isinstance(one, list):
            assert len(one) == len(other), where
            for place, pair in enumerate(zip(one, other, strict=True)):
                compared(*pair, f"{where}[{place}]")
        else:
            assert one == pytest.approx(other, rel=1e-6) if isinstance(one, float) else one == other, where

    compared(found, expected, "")


@pytest.mark.parametrize("end", range(0, len(SAVED), 97))
def test_a_cut_document_is_refused(end):
    with pytest.raises(StorageError, match="no UBJSON"):
        decode(SAVED[:end])


def test_bytes_that_say_anything_are_read_or_refused():
    random = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(SAVED)
        for place in random.integers(0, len(SAVED), 5):
            broken[place] = random.integers(0, 256)
        with suppress(StorageError):
            decode(bytes(broken))


@pytest.mark.parametrize("data", [b"", b"x", b"[" * 500, b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff", b"Si\xff", b"T T"])
def test_other_bytes_are_refused(data):
    with pytest.raises(StorageError, match="no UBJSON"):
        decode(data)
