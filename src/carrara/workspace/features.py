"""`ws.features`: the catalogue, computation, materialisation, joins, retrieval."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.core.columns import utc_times
from carrara.core.errors import CarraraError

if TYPE_CHECKING:
    import polars as pl

    from carrara.features.catalogue import CatalogueEntry
    from carrara.features.materialise import Materialised
    from carrara.features.offline import FeatureTable
    from carrara.features.pushes import Pushed
    from carrara.features.retrieval import FeatureValues, Retriever
    from carrara.features.streams.run import Streamed
    from carrara.features.suggestion import Suggestion
    from carrara.features.verification import Verified
    from carrara.pipelines.status import FeatureStatus
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Features:
    """The feature views of a workspace."""

    workspace: Workspace

    def all(self) -> list[CatalogueEntry]:
        """Every declared feature, with what is known of it."""

        from carrara.features.catalogue import catalogue, catalogue_state

        workspace, state = self.workspace, catalogue_state(self.workspace.stores)
        if workspace._catalogue is None or workspace._catalogue[0] != state:
            workspace._catalogue = state, catalogue(workspace.stores, workspace.definitions)
        return workspace._catalogue[1]

    def show(self, feature: str) -> CatalogueEntry:
        """One feature of the catalogue, by `view:feature`."""

        from carrara.features.catalogue import catalogue_entry

        return catalogue_entry(self.workspace.stores, self.workspace.definitions, feature)

    def search(self, text: str = "", *, tag: str | None = None, **facets: str | bool | None) -> list[CatalogueEntry]:
        """The features that hold every word of `text`, the best first; facets are `entity`, `owner`, `pii`, …"""

        from carrara.features.catalogue import search

        return search(self.all(), text, tag=tag, **facets)

    def suggest(self, label: str, *, time: str | None = None, most: int = 20) -> list[Suggestion]:
        """Which features tell of a label (`DATASET:COLUMN`), in the order in which to add them.

        `time` is the column that says when each row is predicted; a model that has this label knows it.
        """

        from carrara.features.suggestion import label_of, suggest

        stores, definitions = self.workspace.stores, self.workspace.definitions
        dataset, column = label_of(label)
        models = definitions.of_kind("model").values()
        known = [m.label.time for m in models if m.label.dataset == dataset and column in m.label.columns]
        if time is None and not known:
            raise CarraraError(f"no model says when '{label}' is predicted", hint="Name the column: --time COLUMN.")
        return suggest(stores, definitions, dataset, column, time or known[0], most=most)

    def tables(self) -> list[FeatureTable]:
        """Every computed feature table, oldest first."""

        from carrara.features.offline import list_feature_tables

        return list_feature_tables(self.workspace.stores)

    def compute(self, *names: str) -> list[FeatureTable]:
        """Compute views (by default all) over the newest versions of their datasets, ingested first."""

        from carrara.pipelines.prepare import compute_features, ingest_for, stored_views

        stores, definitions = self.workspace.stores, self.workspace.definitions
        views = stored_views(definitions, names)
        ingest_for(stores, definitions, [view.source for view in views])
        return compute_features(stores, definitions, views)

    def materialise(self, *names: str, until: datetime | None = None, rebuild: bool = False) -> list[Materialised]:
        """Bring the online rows of views (by default all) up to `until` (by default the clock's time).

        Where a deployed model was trained with a former definition of a view, that is brought up to date as well.
        """

        from carrara.pipelines.prepare import materialise_views, refresh_former_views, stored_views

        stores, definitions, until = self.workspace.stores, self.workspace.definitions, until or self.workspace.clock()
        views = stored_views(definitions, names)
        done = materialise_views(stores, definitions, views, until, rebuild=rebuild)
        return [*done, *refresh_former_views(stores, views, until)]

    def status(self, *names: str) -> list[FeatureStatus]:
        """How fresh views (by default all) are, and what their schedules did and will do."""

        from carrara.pipelines.prepare import stored_views
        from carrara.pipelines.status import feature_status

        definitions = self.workspace.definitions
        return feature_status(self.workspace.stores, definitions, stored_views(definitions, names))

    def verify(self, *names: str) -> list[Verified]:
        """Whether what is online of views (by default all) is what their tables, pushes and times say."""

        from carrara.features.verification import verify
        from carrara.pipelines.prepare import entity_of, stored_views

        stores, definitions = self.workspace.stores, self.workspace.definitions
        return [verify(stores, view, entity_of(definitions, view)) for view in stored_views(definitions, names)]

    def join(self, what: str | Sequence[str], labels: Any, *, time: str) -> pl.DataFrame:
        """Labels with the features of a service, or of references, as they were known at each row's `time`.

        `labels` are a dataframe, the address of a file, or the name of a dataset. Raises DataError for views that were
        not computed as they are defined.
        """

        import polars as pl

        from carrara.data.sources.files import read_file
        from carrara.data.versions import read_dataset
        from carrara.features.service import resolve_features
        from carrara.features.training_set import join_features

        stores, definitions = self.workspace.stores, self.workspace.definitions
        resolved = resolve_features(definitions, (what,) if isinstance(what, str) else tuple(what), where="the join")
        if isinstance(labels, str) and labels in definitions.of_kind("dataset"):
            rows = read_dataset(stores, labels).collect()
        else:
            rows = read_file(str(labels), stores.root) if isinstance(labels, str | Path) else _as_polars(labels)
        if time in rows.columns and rows[time].dtype == pl.String:
            rows = rows.with_columns(utc_times(rows[time], "the labels"))
        return rows.hstack(join_features(stores, resolved, rows, time, where="the labels"))

    def push(self, view: str, rows: Any) -> Pushed:
        """Write rows of a view, known from now on, offline and online at once: a dataframe, or mappings."""

        from carrara.features.pushes import push
        from carrara.pipelines.prepare import entity_of, stored_views

        stores, definitions = self.workspace.stores, self.workspace.definitions
        (found,) = stored_views(definitions, (view,))
        return push(stores, found, entity_of(definitions, found), rows)

    def stream(
        self, view: str, told: threading.Event, said: Callable[[Streamed], None], *, until_empty: bool = False
    ) -> None:
        """Read a view's stream into it, offline and online, until `told`, or to its present end."""

        from carrara.features.streams.run import run_stream
        from carrara.pipelines.prepare import entity_of, stored_views

        stores, definitions = self.workspace.stores, self.workspace.definitions
        (found,) = stored_views(definitions, (view,))
        run_stream(stores, found, entity_of(definitions, found), told, said, until_empty=until_empty)

    def dead_letters(self, view: str) -> pl.DataFrame:
        """The messages of a view's stream that are no rows of it, with the reasons."""

        from carrara.features.streams.run import dead_letters
        from carrara.pipelines.prepare import stored_views

        (found,) = stored_views(self.workspace.definitions, (view,))
        return dead_letters(self.workspace.stores, found)

    def get(self, what: str | Sequence[str], entities: Any) -> FeatureValues:
        """The features of a feature service, of a model version, or of a list of references, from the online store.

        `entities` are a dataframe, a mapping of columns, or a list of mappings: keys, request fields, and optionally
        an `event_time` each.
        """
        workspace = self.workspace
        return self._retriever(what).ask(entities, workspace.clock())

    def _retriever(self, what: str | Sequence[str]) -> Retriever:
        from carrara.features.retrieval import Retriever
        from carrara.features.service import resolve_features

        stores, definitions = self.workspace.stores, self.workspace.definitions
        if isinstance(what, str) and what not in definitions.of_kind("feature service"):
            return self.workspace._predictor(what).retriever
        references = (what,) if isinstance(what, str) else tuple(what)
        if references not in self.workspace._retrievers:
            resolved = resolve_features(definitions, references, where="ws.features.get")
            self.workspace._retrievers[references] = Retriever(resolved, stores.online)
        return self.workspace._retrievers[references]


def _as_polars(rows: Any) -> pl.DataFrame:
    import narwhals as nw
    import polars as pl

    frame: pl.DataFrame = rows if isinstance(rows, pl.DataFrame) else nw.from_native(rows, eager_only=True).to_polars()
    return frame
