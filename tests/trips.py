"""A small workspace with made-up trips, whose delays can be learned."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

DEFINITIONS = '''
import carrara
import narwhals as nw
import numpy as np

trips = carrara.Dataset("trips", source="trips.csv", types={"at": "datetime", "ended_at": "datetime"})
depots = carrara.Dataset("depots", source="depots.csv", types={"seen_at": "datetime"})

driver = carrara.Entity("driver", keys=("driver",))
depot = carrara.Entity("depot", keys=("depot", "city"))


@carrara.feature_view(
    entity="depot", source="depots", event_time="seen_at", ttl="2d", features={"load": "float64", "open": "bool"}
)
def depot_state(depots):
    """How full a depot is."""
    return depots.select("depot", "city", "seen_at", "load", "open")


driver_trips = carrara.AggregateView(
    "driver_trips",
    entity="driver",
    source="trips",
    event_time="ended_at",
    aggregations=(
        carrara.mean("delay", windows=("6h", "2d")),
        carrara.rate("late", windows=("2d",)),
        carrara.last("delay", windows=("2d",)),
        carrara.count(windows=("6h",)),
    ),
)


@carrara.on_demand_view(
    request={"distance": "float64"}, inputs=("depot_state:load",), features={"far": "int64", "loaded_km": "float64"}
)
def trip(distance, load):
    """The trip itself."""
    return {"far": distance > 50, "loaded_km": distance * load}


late = carrara.Model(
    "late",
    features=("depot_state", "driver_trips", "trip"),
    label=carrara.Label(dataset="trips", column="late", time="at", known_at="ended_at"),
    split=carrara.TimeSplit(validation_from="2024-01-15", test_from="2024-01-20"),
    trainer=carrara.XGBoost(trees=40, depth=3),
    metrics=("roc_auc", "log_loss", "brier"),
    slices=("depot",),
    baseline=("depot",),
    gates=(carrara.at_least("roc_auc", 0.5),),
)
'''


def write_workspace(folder: Path, trips: int = 3_000, seed: int = 7) -> Path:
    """A workspace's files with made-up trips, whose delays depend on distance, load and driver."""
    random = np.random.default_rng(seed)
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    at = np.sort(start + random.integers(0, 30 * 86_400, trips))
    driver, city = random.integers(0, 12, trips), random.integers(0, 3, trips)
    distance = random.uniform(1, 100, trips).round(1)
    delay = (distance / 4 + 3.0 * (driver % 4) + random.normal(0, 6, trips)).round()
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "driver": [f"d{n}" for n in driver],
            "depot": [f"p{n % 2}" for n in city],
            "city": [f"c{n}" for n in city],
            "distance": distance,
            "at": _texts(at),
            "ended_at": _texts(at + 1_800 + (delay * 60).astype(int)),
            "delay": delay,
            "late": delay > 18,
        }
    ).write_csv(folder / "trips.csv")
    hours = np.repeat(start + 3_600 * 6 * np.arange(4 * 30), 3)
    cities = np.tile(np.arange(3), 4 * 30)
    pl.DataFrame(
        {
            "depot": [f"p{n % 2}" for n in cities],
            "city": [f"c{n}" for n in cities],
            "seen_at": _texts(hours),
            "load": random.uniform(0, 1, len(hours)).round(3),
            "open": random.random(len(hours)) > 0.2,
        }
    ).write_csv(folder / "depots.csv")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "carrara.toml").write_text('[workspace]\nname = "trips"\n')
    return folder


def _texts(seconds: np.ndarray) -> list[str]:
    return [f"{datetime.fromtimestamp(int(s), UTC):%Y-%m-%dT%H:%M:%SZ}" for s in seconds]
