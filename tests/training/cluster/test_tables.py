"""Large tables of embeddings are shared among parameter servers, and a state has them whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carrara.training.cluster.supervisor import fit_together
from carrara.training.cluster.team import Team
from carrara.training.trainers.base import Part, Task
from carrara.training.trainers.keras import Keras
from carrara.training.trainers.keras_tables import Whole, shards_of, table

CATEGORIES = 20_000


def part(rows: int, seed: int) -> Part:
    """Labels that depend on the half of the table that a category is in."""
    places = np.random.default_rng(seed).integers(0, CATEGORIES, rows)
    features = np.stack([places, np.zeros(rows)], axis=1).astype(np.float32)
    return Part(features, (places % 2).astype(np.float32))


def test_small_tables_are_in_one_piece():
    assert [shards_of(CATEGORIES, width, 3) for width in (1, 8, 32)] == [1, 2, 3]
    assert shards_of(10**9, 64, 1) == 1


@pytest.mark.slow
def test_a_table_in_shards_gives_the_rows_of_the_whole_one_and_learns_by_them():
    tensorflow, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    places = keras.Input((), dtype="int32")
    model = keras.Model(places, table(tensorflow, keras, 11, 3, 4)(places))
    whole = keras.Model(places, table(tensorflow, keras, 11, 3, 1)(places))
    (values,) = Whole(model.variables).read()
    assert values.shape == (11, 3)
    Whole(whole.variables).write([values])
    asked = np.array([0, 10, 3, 3, 7, 2])
    np.testing.assert_array_equal(model(asked), whole(asked))
    states = []
    for one in (model, whole):
        optimiser = keras.optimizers.AdamW(0.1)
        optimiser.build(one.trainable_variables)
        with tensorflow.GradientTape() as tape:
            loss = tensorflow.reduce_sum(one(asked) ** 2)
        optimiser.apply(tape.gradient(loss, one.trainable_variables), one.trainable_variables)
        states.append(Whole([*one.variables, *optimiser.variables]))
    for sharded, plain in zip(states[0].read(), states[1].read(), strict=True):
        np.testing.assert_allclose(sharded, plain, rtol=1e-6)
    states[0].write(states[1].read())
    np.testing.assert_array_equal(model(asked), whole(asked))


@pytest.mark.slow
def test_a_large_table_is_on_all_servers_and_the_fit_ends_with_it_whole(tmp_path):
    told: list[str] = []
    trainer = Keras(layers=(8,), epochs=3, batch_rows=500, learning_rate=0.05, dropout=0.0)
    task = Task("binary", ("place", "zero"), categories={"place": CATEGORIES}, folder=tmp_path, tell=told.append)
    train, validation = part(20_000, 1), part(500, 2)
    done = fit_together(trainer, train, validation, replace(task, team=Team(2, servers=2)))
    # The table and its two moments are in two shards each; all others are in one piece.
    assert told == ["variables: 10 on ps:0, 10 on ps:1"]
    fitted = trainer.fit(train, validation, done)
    assert fitted.curve["train"][-1] < fitted.curve["train"][0]
    assert np.mean((fitted.predict(train.features) > 0.5) == train.labels) > 0.7
