"""A test part in the lake is measured in batches, and comes to what rows in memory come to, bit for bit."""

from __future__ import annotations

import numpy as np
import polars as pl

from carrara.data.rows import BATCH_ROWS, StoredRows
from carrara.evaluation.evaluate import evaluate
from carrara.evaluation.slicing import Slicing
from carrara.pipelines.evaluate_step import compact
from carrara.pipelines.scoring import scores_of


class Halves:
    """A model of one feature that cannot take more rows at once than a batch has."""

    class signature:  # noqa: N801  # read as an attribute
        inputs = (type("Input", (), {"name": "x"}),)
        outputs = (type("Output", (), {"name": "score"}),)

        @staticmethod
        def tensors(rows):
            return {"x": rows["x"].to_numpy()}

    def run(self, tensors):
        assert len(tensors["x"]) <= BATCH_ROWS
        return {"score": (tensors["x"] / 2).astype(np.float32)}


def test_rows_in_the_lake_come_to_the_same_bit_for_bit(tmp_path, monkeypatch):
    random, height = np.random.default_rng(0), 2 * BATCH_ROWS + 1_001
    table = pl.DataFrame({"x": random.random(height), "carrier": random.choice(["UA", "DL", "AA"], height)})
    table = table.with_columns(late=pl.Series(random.random(height) < table["x"].to_numpy() / 2))
    table.write_parquet(tmp_path / "rows.parquet", row_group_size=50_000)
    wanted = pl.Series(np.arange(height) % 3 > 0)
    stored, whole = StoredRows(pl.scan_parquet(tmp_path / "rows.parquet"), wanted), table.filter(wanted)
    slicing = Slicing.of(["carrier", "x", {"high": "x > 0.8"}, ("high", "carrier")])
    found = []
    for rows, most in ((stored, 1_000), (whole, 10_000_000)):
        monkeypatch.setattr("carrara.evaluation.evaluate._MANY", most)
        monkeypatch.setattr("carrara.evaluation.intervals._MOST_ONES", 10_000_000)
        labels, scores = rows["late"].cast(pl.Float64).to_numpy(), scores_of(Halves(), rows)
        asked = compact(labels) if rows is stored else labels
        found.append(
            evaluate(asked, scores, slice_columns=slicing.cells(rows), crosses=slicing.crosses, seed=3).as_dict()
        )
    assert found[0] == found[1]
    assert len(found[0]["slices"]) == 3 + 4 + 2 + 6


def test_only_what_is_wanted_of_a_table_is_held(tmp_path):
    pl.DataFrame({"x": range(1_000), "y": ["a"] * 1_000}).write_parquet(tmp_path / "rows.parquet")
    rows = StoredRows(pl.scan_parquet(tmp_path / "rows.parquet"), pl.repeat(True, 1_000, eager=True))
    assert rows.gather_every(250).select(["x", "y"]).to_dicts() == [{"x": n, "y": "a"} for n in (0, 250, 500, 750)]
    none = StoredRows(pl.scan_parquet(tmp_path / "rows.parquet"), pl.repeat(False, 1_000, eager=True))
    assert none.select(["x"]).schema == pl.Schema({"x": pl.Int64()})


def test_labels_are_kept_in_a_byte_where_that_is_all_of_them():
    assert compact(np.array([0.0, 1.0, 7.0])).dtype == np.int8
    for labels in (np.array([0.5]), np.array([-1.0]), np.array([300.0]), np.array([np.inf])):
        assert compact(labels) is labels
