"""A workspace with the smallest model of each kind, which many tests look at; trained once a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from carrara.features.training_set import kept_training_set
from carrara.workspace.workspace import Workspace

KINDS = ("binary", "regression", "multiclass", "multilabel", "ranking", "clustering", "series", "partitioned", "net")
"""The models by their names; each is of another kind or another form of what it has learned."""

DEFINITIONS = """
import carrara

offers = carrara.Dataset("offers", source="offers.parquet")
sales = carrara.Dataset("sales", source="sales.parquet")
ahead = carrara.Ahead("ahead", source="sales", key=("store",), time="day", value="sold", steps=2)
store = carrara.Entity("store", keys=("store",))
history = carrara.AggregateView("history", entity="store", source="sales", event_time="day",
    aggregations=(carrara.lags("sold", 7, windows=("30d",)),))
OFFER = {"price": "float64", "stars": "int64", "distance": "float64", "open": "bool", "country": "string"}


@carrara.on_demand_view(request=OFFER, features=OFFER)
def offer(**offered):
    return offered


@carrara.on_demand_view(request={"step": "int64"}, features={"days": "float64"})
def horizon(step):
    return {"days": step}


NUMBERS = ("offer:price", "offer:stars", "offer:distance", "offer:open")
READY = (carrara.Impute(), carrara.Standardise(), carrara.OneHot("*"))


def model(name, column, trainer, kind=None, features=("offer",), group=None, **options):
    return carrara.Model(
        name, features=features, label=carrara.Label("offers", column, "at", kind=kind or name, group=group),
        split=carrara.TimeSplit(validation_from="2024-01-04", test_from="2024-01-05"), trainer=trainer,
        slices=("country",), **options)


binary = model("binary", "cheap", carrara.XGBoost(trees=8, depth=2), features=NUMBERS, baseline=("country",))
regression = model("regression", "worth", carrara.LightGBM(trees=8, leaves=4), transforms=(carrara.OneHot("*"),))
multiclass = model("multiclass", "grade", carrara.Linear(), transforms=READY)
multilabel = model("multilabel", ("cheap", "good"), carrara.XGBoost(trees=8, depth=2), features=NUMBERS)
ranking = model("ranking", "relevance", carrara.LightGBM(trees=8, leaves=4), features=NUMBERS, group="search")
clustering = carrara.Model("clustering", features=NUMBERS, label=carrara.Unlabelled("offers", time="at"),
    split=carrara.TimeSplit(validation_from="2024-01-04", test_from="2024-01-05"),
    trainer=carrara.KMeans(clusters=3, starts=1), transforms=READY[:2], slices=("country",))
partitioned = model("partitioned", "worth", carrara.Linear(), "regression", transforms=READY[:2],
    partition_by=("offer:country",), partition_rows=100)
net = model("net", "cheap", carrara.Torch(layers=(8,), epochs=2), "binary",
    transforms=(*READY[:2], carrara.Vocabulary()))
series = carrara.Model("series", features=("history", "horizon"),
    label=carrara.Label("ahead", "sold", "day", "known_at", "regression"),
    split=carrara.RollingSplit(validation="14d", test="14d"), trainer=carrara.LightGBM(trees=8, leaves=4),
    slices=("step",))
"""


def write_workspace(folder: Path) -> Path:
    """The files of the workspace."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "carrara.toml").write_text('[workspace]\nname = "kinds"\n')
    offers().write_parquet(folder / "offers.parquet")
    sales().write_parquet(folder / "sales.parquet")
    return folder


def offers(searches: int = 150, items: int = 6) -> pl.DataFrame:
    """Searches with six offers each, of which the near and good ones are worth more."""
    random, rows = np.random.default_rng(5), searches * items
    price, stars, distance = random.uniform(20, 300, rows), random.integers(1, 6, rows), random.exponential(5, rows)
    worth = 1.2 * stars - 0.4 * distance - price / 80 + random.normal(0, 0.5, rows)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "search": np.repeat([f"s{n}" for n in range(searches)], items),
            "country": np.repeat(np.array(["at", "it"])[random.integers(0, 2, searches)], items),
            "at": [start + timedelta(minutes=46 * n) for n in range(searches) for _ in range(items)],
            "price": price,
            "stars": stars,
            "distance": distance,
            "open": random.random(rows) < 0.7,
            "worth": worth,
            "grade": np.array(["poor", "fair", "fine"])[np.digitize(worth, (0.5, 2.5))],
            "relevance": np.digitize(worth, (0.5, 2.5, 4.0)),
            "cheap": price + random.normal(0, 20, rows) < 130,
            "good": stars + random.normal(0, 0.5, rows) > 3.5,
        }
    )


def sales(days: int = 90) -> pl.DataFrame:
    """Two stores that sell by the day of the week."""
    random, week = np.random.default_rng(4), np.array([10.0, 12, 20, 22, 35, 50, 5])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "store": np.repeat(["s1", "s2"], days),
            "day": [start + timedelta(days=day) for _ in range(2) for day in range(days)],
            "sold": np.tile(np.resize(week, days), 2) + random.normal(0, 1, 2 * days),
        }
    )


class Kinds:
    """The workspace, in which each model is trained when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(write_workspace(folder))
        self._trained: set[str] = set()

    def trained(self, name: str) -> str:
        """The version of a model of `KINDS`."""
        if name not in self._trained:
            self.workspace.train(name)
            self._trained.add(name)
        return f"{name}@1"

    def rows(self, name: str, rows: int = 20) -> pl.DataFrame:
        """Features of the last rows of its training set, as they were joined."""
        record = self.workspace.models.record(self.trained(name))
        _, table = kept_training_set(self.workspace.stores, name, record["datasets"]["training_set"])
        return table.tail(rows).select(one["name"] for one in record["features"]).collect()
