"""Stores that are away: who would write says so, and makes no other store in their place (F38)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from carrara.core.errors import StorageError
from carrara.workspace.workspace import Workspace
from commands import carrara

LATER = datetime(2024, 1, 22, tzinfo=UTC)


@pytest.fixture(params=["gone", "an empty folder, where it was mounted"])
def away(request):
    """Takes a store's folder away, one of two ways, and gives what brings it back."""

    def take(folder: Path):
        aside = folder.with_name(f"{folder.name}-aside")
        folder.rename(aside)
        if request.param != "gone":
            folder.mkdir()

        def back() -> None:
            assert not folder.exists() or not list(folder.iterdir())
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)

        return back

    return take


def test_no_writer_makes_another_lake_in_the_place_of_one_that_is_away(trained, away):
    root = trained.root
    trained.close()
    back = away(root / ".carrara" / "lake")
    rows = pl.read_csv(root / "trips.csv")
    pl.concat([rows, rows.tail(5)]).write_csv(root / "trips.csv")
    told = json.loads(carrara("doctor", "--json", "-w", root).stdout)["workspace"]
    assert (told["artifacts"], told["lake"].partition(":")[0]) == ("not away", "error")
    with Workspace(root) as workspace:
        for write in (
            lambda: workspace.datasets.ingest("trips"),
            lambda: workspace.features.materialise(until=LATER),
            lambda: workspace.train("late"),
            lambda: workspace.datasets.read("depots").collect(),
        ):
            with pytest.raises(StorageError, match="the lake is away: there is nothing at"):
                write()
    back()
    with Workspace(root) as workspace:
        assert workspace.datasets.ingest("trips")[0].version.rows == rows.height + 5
        workspace.features.materialise(until=LATER)


def test_no_version_is_registered_beside_an_artifact_store_that_is_away(trained, away):
    root = trained.root
    trained.close()
    back = away(root / ".carrara" / "artifacts")
    definitions = root / "definitions.py"
    definitions.write_text(definitions.read_text().replace("trees=40", "trees=5"))
    with Workspace(root) as workspace:
        for use in (lambda: workspace.train("late"), lambda: workspace.predict("late", entities=[{"driver": "d1"}])):
            with pytest.raises(StorageError, match="the artifact store is away: there is nothing at"):
                use()
        assert [str(one) for one in workspace.models.versions()] == ["late@1"]
    back()
    with Workspace(root) as workspace:
        assert str(workspace.train("late").version) == "late@2"
