"""What is served: a workspace whose model has 200 trees of XGBoost over 28 features from three feature views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from carrara import Workspace

VIEWS = {"shop": 10, "buyer": 9, "goods": 9}
"""The feature views, one an entity, with how many features each has."""

FEATURES = [f"{view}_state:{view}_{n}" for view, count in VIEWS.items() for n in range(count)]
ENTITIES = 1_000
ROWS = 60_000
_START = datetime(2024, 1, 1, tzinfo=UTC)

_VIEW = """
{view} = carrara.Entity("{view}", keys=("{view}",))


@carrara.feature_view(entity="{view}", source="{view}s", event_time="at", features={features})
def {view}_state(rows):
    return rows
"""
_MODEL = """
bought = carrara.Model(
    "bought",
    features={views},
    label=carrara.Label(dataset="labels", column="bought", time="at"),
    split=carrara.HashSplit(key=("buyer",)),
    trainer=carrara.XGBoost(trees=200, depth=6, early_stopping=200),
)
watched = carrara.Monitor("bought", log=carrara.Sampling(rate=0.01))
"""


def write_subject(folder: Path) -> Path:
    """The workspace, trained, deployed and materialised; a folder that has one already is left as it is."""
    if (folder / "ready").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    values = {view: _write_view(folder, view, count, random) for view, count in VIEWS.items()}
    keys = {view: random.integers(0, ENTITIES, ROWS) for view in VIEWS}
    margin = sum(values[view][keys[view], :4] @ random.normal(size=4) for view in VIEWS)
    bought = random.random(ROWS) < 1 / (1 + np.exp(-margin))
    at = pl.Series([_START + timedelta(days=1)] * ROWS)
    labels = {view: [f"{view}{key}" for key in found] for view, found in keys.items()}
    pl.DataFrame({**labels, "at": at, "bought": bought}).write_parquet(folder / "labels.parquet")
    (folder / "definitions.py").write_text(_definitions())
    (folder / "carrara.toml").write_text('[workspace]\nname = "shop"\n')
    with Workspace(folder) as workspace:
        workspace.apply()
        workspace.train("bought")
        workspace.deploy("bought@1")
        workspace.features.materialise()
    (folder / "ready").touch()
    return folder


def _write_view(folder: Path, view: str, count: int, random: np.random.Generator) -> np.ndarray:
    values = random.normal(size=(ENTITIES, count))
    columns = {f"{view}_{n}": values[:, n] for n in range(count)}
    keys = [f"{view}{key}" for key in range(ENTITIES)]
    pl.DataFrame({view: keys, "at": [_START] * ENTITIES, **columns}).write_parquet(folder / f"{view}s.parquet")
    return values


def _definitions() -> str:
    datasets = "\n".join(f'{n} = carrara.Dataset("{n}", source="{n}.parquet")' for n in ["labels", *_sources()])
    views = "".join(
        _VIEW.format(view=view, features={f"{view}_{n}": "float64" for n in range(count)})
        for view, count in VIEWS.items()
    )
    return f"import carrara\n\n{datasets}\n{views}{_MODEL.format(views=tuple(f'{view}_state' for view in VIEWS))}"


def _sources() -> list[str]:
    return [f"{view}s" for view in VIEWS]
