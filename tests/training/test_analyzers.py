"""What transforms learn: equal for a whole and for its parts, and read again of those days alone that changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from carrara.data.rows import StoredRows
from carrara.features.training_set import _digests_by_day
from carrara.training.analyzers.numbers import Moments, Presence, Quantiles
from carrara.training.analyzers.spans import Analyses, Day, said
from carrara.training.analyzers.texts import Grams, Texts
from carrara.training.inputs import fit_inputs
from carrara.training.transforms.numbers import Bucketise, Clip, Impute, Standardise
from carrara.training.transforms.texts import Cross, NGrams, OneHot, Vocabulary
from carrara.training.transforms.tokens import Tokens

NUMBERS = st.lists(st.one_of(st.floats(width=32), st.just(float("nan"))), max_size=40)
TEXTS = st.lists(st.sampled_from(["", "a", "A b", "b  a c", "c"]), max_size=40)
FEATURES = ("v:x", "v:y", "v:colour", "v:text")
TRANSFORMS = (
    Impute("v:x", indicator=True),
    Clip("v:y", 0.1, 0.9),
    Standardise(),
    Cross(("v:colour", "v:text")),
    Vocabulary("v:colour × v:text", most=5),
    OneHot("v:colour"),
    NGrams("v:text", words=2),
)


def merged(analyzer, values, cuts):
    """The state of parts that were written down and read again, merged from the last to the first."""
    parts = [analyzer.analyze(part) for part in np.split(values, sorted(cuts))][::-1]
    states = [analyzer.read(msgspec.msgpack.decode(msgspec.msgpack.encode(one.as_dict()))) for (one,) in parts]
    for other in states[1:]:
        states[0].merge(other)
    return states[0].as_dict()


@pytest.mark.parametrize("analyzer", [Moments(), Quantiles(), Presence()])
@given(NUMBERS, st.lists(st.integers(0, 40), max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_numbers_of_a_whole_are_those_of_its_parts_bit_for_bit(analyzer, numbers, cuts):
    values = np.array(numbers, np.float32)[:, None]
    (whole,) = analyzer.analyze(values)
    assert merged(analyzer, values, cuts) == whole.as_dict()


@pytest.mark.parametrize("analyzer", [Texts(), Grams(2), Presence()])
@given(TEXTS, st.lists(st.integers(0, 40), max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_texts_of_a_whole_are_those_of_its_parts(analyzer, texts, cuts):
    values = np.array([*texts, ""], dtype=object)[:-1]
    (whole,) = analyzer.analyze(values)
    assert merged(analyzer, values, cuts) == whole.as_dict()


@given(NUMBERS, st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_missing_numbers_is_known_of_those_that_were_filled_in(numbers, value):
    values = np.array(numbers, np.float32)[:, None]
    filled = np.where(np.isnan(values), np.float32(value), values)
    for analyzer in (Moments(), Quantiles()):
        (state,), (judge,) = analyzer.analyze(values), analyzer.analyze(filled)
        state.filled(value)
        assert state.as_dict() == judge.as_dict()


def test_moments_are_exact_where_float64_is_not():
    values = np.array([1e30, 1.0, -1e30, 3e-45], np.float32)[:, None]
    (sums,) = Moments().analyze(values)
    assert sums.mean == 0.25
    some = np.random.default_rng(0).normal(1e6, 1, 1_000).astype(np.float32)
    (sums,) = Moments().analyze(some[:, None])
    assert sums.std == pytest.approx(np.std(some.astype(np.longdouble)), rel=1e-12)


def table(days: int, seed: int = 0) -> pl.DataFrame:
    """A training set of so many days of 30 rows: a day's rows are the same, however many there are."""
    frames = []
    for day in range(days):
        random = np.random.default_rng([seed, day])
        start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
        frames.append(
            pl.DataFrame(
                {
                    "at": [start + timedelta(minutes=30 * row) for row in range(30)],
                    "v:x": np.where(random.random(30) < 0.2, np.nan, random.normal(day, 3, 30)),
                    "v:y": random.gamma(2, 5, 30),
                    "v:colour": random.choice(["red", "green", "blue"], 30),
                    "v:text": [" ".join(random.choice(["a", "B", "c"], 3)) for _ in range(30)],
                }
            ).with_columns(pl.col("v:x").fill_nan(None))
        )
    return pl.concat(frames)


class Watched(StoredRows):
    """Rows that tell which times were read of them."""

    def __init__(self, frame: pl.DataFrame, wanted: pl.Series | None = None, seen: list | None = None) -> None:
        super().__init__(frame.lazy(), pl.repeat(True, frame.height, eager=True) if wanted is None else wanted)
        self.frame, self.seen = frame, [] if seen is None else seen

    def stretch(self, first, rows):
        return Watched(self.frame.slice(first, rows), self._wanted.slice(first, rows), self.seen)

    def batches(self, names):
        self.seen.extend(self.frame.filter(self._wanted)["at"].dt.day().unique(maintain_order=True))
        yield from super().batches(names)


def learned(frame, folder: Path, wanted=None, transforms=TRANSFORMS):
    rows = Watched(frame, wanted)
    days = Day.of([str(day), part.rows, part.hexdigest(frame.schema)] for day, part in _digests_by_day(frame, "at"))
    analyses = Analyses(days, folder)
    return fit_inputs(FEATURES, transforms, rows, analyses=analyses), rows.seen, analyses.told()


def test_of_a_day_more_that_day_alone_is_read(tmp_path):
    learned(table(6), tmp_path)
    others = (Impute(), Standardise(), OneHot("v:colour"), Tokens("v:text"))
    made, seen, told = learned(table(7), tmp_path, transforms=others)
    assert seen == [7, 1, 2, 3, 4, 5, 6]  # of each day is known what is there, and not what these transforms ask
    assert told == {"days": 7, "read": [f"2024-01-0{day}" for day in range(1, 8)], "kept": 0}
    made, seen, told = learned(table(8), tmp_path, transforms=others)
    assert (seen, told) == ([8], {"days": 8, "read": ["2024-01-08"], "kept": 7})
    assert said(told) == "transforms from 8 days, 1 of them read"
    assert made == fit_inputs(FEATURES, others, table(8))


@pytest.mark.parametrize("transforms", [TRANSFORMS, (Bucketise("v:x", 4), Standardise("v:y"), Tokens("v:text"))])
def test_what_is_learned_is_the_same_by_days_and_at_once_and_from_what_was_kept(tmp_path, transforms):
    frame = table(4)
    frame = frame.with_columns(pl.lit("v")) if "Tokens" in str(transforms) else frame
    features = FEATURES if transforms is TRANSFORMS else ("v:x", "v:y", "v:text")
    judge = fit_inputs(features, transforms, frame)
    days = Day.of([str(day), part.rows, part.hexdigest(frame.schema)] for day, part in _digests_by_day(frame, "at"))
    for _ in range(2):
        assert fit_inputs(features, transforms, Watched(frame), analyses=Analyses(days, tmp_path)) == judge


def test_a_day_that_changed_and_one_of_which_other_rows_are_in_the_part_are_read_again(tmp_path):
    frame, transforms = table(4), (Impute(), OneHot("v:colour"), Tokens("v:text"))
    learned(frame, tmp_path, transforms=transforms)
    late = frame.with_columns(pl.when(pl.col("at") == frame["at"][40]).then(99.0).otherwise("v:y").alias("v:y"))
    assert learned(late, tmp_path, transforms=transforms)[1] == [2]
    wanted = pl.Series(np.arange(frame.height) < 70)
    made, seen, told = learned(frame, tmp_path, wanted, transforms)
    assert (seen, told["days"]) == ([3], 3)
    assert made == fit_inputs(FEATURES, transforms, frame.head(70))


def test_a_state_that_is_not_what_was_written_is_found_anew(tmp_path):
    frame, transforms = table(2), (Impute(), OneHot("v:colour"), Tokens("v:text"))
    judge, *_ = learned(frame, tmp_path, transforms=transforms)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    made, seen, _ = learned(frame, tmp_path, transforms=transforms)
    assert (made, seen) == (judge, [1, 2])
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert learned(frame, blocked, transforms=transforms)[0] == judge  # where there is no room for any
