"""`ws.models`: versions, records, reports, aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.core.definitions import Definitions
from carrara.core.errors import NotFoundError
from carrara.core.names import check_name
from carrara.core.progress import Progress
from carrara.metadata.aliases import current_aliases, move_alias
from carrara.metadata.decisions import Decision
from carrara.metadata.model_search import Page, count_models
from carrara.metadata.model_values import TAG, say_of_version
from carrara.metadata.trials import RecordedTrial, list_trials

if TYPE_CHECKING:
    import polars as pl

    from carrara.evaluation.slicing import Sliced
    from carrara.models.mlflow.log import Logged
    from carrara.models.notebook import Charts, Record
    from carrara.models.registry import ModelVersion
    from carrara.monitoring.safety import Safety
    from carrara.monitoring.scorecard import Scorecard
    from carrara.pipelines.comparison import Comparison
    from carrara.pipelines.counterfactual import Counterfactual
    from carrara.pipelines.evaluate_version import VersionEvaluation
    from carrara.pipelines.evaluation_config import EvaluationConfig
    from carrara.pipelines.reproduce import Reproduction
    from carrara.pipelines.trees import Trees
    from carrara.workspace.workspace import Workspace


@dataclass(frozen=True)
class Models:
    """The model versions of a workspace."""

    workspace: Workspace

    def versions(
        self,
        model: str | None = None,
        *,
        where: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[ModelVersion]:
        """The versions of every model, or of one, that meet a condition such as `metrics.roc_auc > 0.7`.

        The oldest first; or by `sort`, a field, `-field` for the largest first.
        """

        from carrara.models.registry import list_models, resolve

        if model is not None:
            resolve(self.workspace.stores, model)
        return list_models(self.workspace.stores, model, Page(where, sort or "registered_at", limit, offset))

    def count(self, model: str | None = None, *, where: str | None = None) -> int:
        """How many versions there are."""
        return count_models(self.workspace.stores.metadata, model, where)

    def reproduce(self, address: str) -> Reproduction:
        """Build a version again by its record, and compare digests; nothing is registered."""

        from carrara.pipelines.reproduce import reproduce

        return reproduce(self.workspace.stores, self.get(address))

    def reproduce_in_new_environment(self, address: str) -> tuple[Reproduction, Path]:
        """The same in an environment that is made from the record, and its folder; see `pipelines.new_environment`."""

        from carrara.pipelines.new_environment import reproduce_in_new_environment

        return reproduce_in_new_environment(self.workspace.stores, self.get(address))

    def diff(self, one: str, other: str) -> list[tuple[str, Any, Any]]:
        """What differs between two versions in configuration, data, code, environment and metrics, field by field."""

        from carrara.pipelines.reproduce import diff_versions as diff_models

        return diff_models(self.workspace.stores, self.get(one), self.get(other))

    def compare(self, first: str, *others: str, slices: Sequence[Sliced] = ()) -> Comparison:
        """Versions on the test rows of the first: differences with intervals, answers, slices, configuration; `slices`
        are looked at beside those of the definitions, as `Model(slices=…)` takes them."""

        from carrara.pipelines.comparison import compare

        return compare(self.workspace.stores, self.get(first), [self.get(other) for other in others], slices)

    def evaluate(self, config: EvaluationConfig | Mapping[str, Any] | str) -> VersionEvaluation:
        """Measure and judge a version again, by its address or as a configuration says: on other rows, by other
        metrics, slices and gates, against another version; nothing is registered."""

        from carrara.pipelines.evaluate_version import evaluate_version
        from carrara.pipelines.evaluation_config import EvaluationConfig

        if isinstance(config, str):
            config = {"model": config}
        read = config if isinstance(config, EvaluationConfig) else EvaluationConfig.of(config)
        return evaluate_version(self.workspace.stores, read)

    def flips(self, address: str, swap: Mapping[str, Sequence[Any]]) -> Counterfactual:
        """How often a binary version's answers turn when two values of a feature, or of several, stand for each other:
        `{"driver:sex": ("f", "m")}`."""

        from carrara.evaluation.counterfactual import Swap
        from carrara.pipelines.counterfactual import counterfactual

        return counterfactual(self.workspace.stores, self.get(address), Swap.of(swap))

    def trees(self, address: str, *, node: str | None = None, seen: bool = True) -> Trees:
        """The trees of a version of XGBoost, LightGBM or scikit-learn, with its training rows at their nodes; of a
        partitioned model those of a `node`."""

        from carrara.pipelines.trees import read_trees

        return read_trees(self.workspace.stores, self.get(address), node=node, seen=seen)

    def trials(self, model: str) -> list[RecordedTrial]:
        """Every trial of a model's hyper-parameters, in the order in which they ended."""
        return list_trials(self.workspace.stores.metadata, model=model)

    def table(self) -> pl.DataFrame:
        """The versions with their metrics, one a row."""

        import polars as pl

        return pl.DataFrame([{"model": str(v), "gates_passed": v.gates_passed, **v.metrics} for v in self.versions()])

    def get(self, address: str) -> ModelVersion:
        """The version that an address stands for: NAME, NAME@3, NAME@ALIAS."""

        from carrara.models.registry import resolve

        return resolve(self.workspace.stores, address)

    def record(self, address: str) -> Record:
        """The whole model record: a dict, which a notebook shows with its charts."""

        from carrara.models.notebook import Record
        from carrara.models.registry import read_record

        return Record(read_record(self.workspace.stores, self.get(address)))

    def report(self, address: str, path: Path | None = None) -> Path:
        """Write the record as one self-contained HTML page, by default into `reports/`, and return its path."""

        from carrara.models.registry import champion, read_record
        from carrara.models.report import render_report
        from carrara.pipelines.trees import largest_trees, learned_parameters

        version, stores = self.get(address), self.workspace.stores
        target = path or self.workspace.root / "reports" / f"{version.model}-{version.version}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        record, best = read_record(stores, version), champion(stores, version.model)
        page = render_report(
            {**record, "charts": self.charts(address)},
            largest_trees(stores, version),
            learned=learned_parameters(stores, version),
            champion=read_record(stores, best) if best is not None else None,
        )
        target.write_text(page, encoding="utf-8")
        return target

    def charts(self, address: str, *, feature: str | None = None) -> Charts:
        """The charts of a version by name, as Vega-Lite specs; of a `feature` also its dependence and distribution."""

        from carrara.evaluation.charts import by_version
        from carrara.evaluation.charts.of_record import charts_of_record
        from carrara.models.notebook import Chart, Charts

        record = self.record(address)
        charts, versions = charts_of_record(record, feature), self.versions(record["model"])
        metric = next(iter(record["metrics"]["test"]), None)
        if metric is not None and len(versions) > 1:
            values = {version.version: version.metrics.get(metric) for version in versions}
            charts["versions"] = by_version(values, metric, record["version"])
        return Charts({name: Chart(spec) for name, spec in charts.items()})

    def parameters(self, address: str, *, node: str | None = None) -> dict[str, Any]:
        """What a version has learned, read without its framework; of a partitioned model what a `node` has."""

        from carrara.pipelines.trees import learned_parameters

        return learned_parameters(self.workspace.stores, self.get(address), node=node)

    def scorecard(self, address: str) -> Scorecard:
        """How a version stands against what is promised of its model: its agreement, or the usual one."""

        from carrara.monitoring.agreement import Agreement
        from carrara.monitoring.scorecard import scorecard

        ws, version = self.workspace, self.get(address)
        agreed = ws.definitions.of_kind("agreement").get(version.model) or Agreement(version.model)
        return scorecard(ws.stores, agreed, version)

    def safety(self, model: str) -> Safety:
        """The safeguards between a bad version of a model and its users, as it is declared and served now."""

        from carrara.monitoring.safety import safety

        ws = self.workspace
        models = ws.definitions.of_kind("model")
        if model not in models:
            raise NotFoundError("model", model, models)
        watched, agreed = (ws.definitions.of_kind(kind).get(model) for kind in ("monitor", "agreement"))
        return safety(ws.stores.metadata, models[model], watched, agreed)

    def features_absent_online(self, address: str) -> list[str]:
        """The feature views that the version reads and that were never materialised as it reads them."""

        from carrara.serving.predictor import retriever_of

        return retriever_of(self.workspace.stores, self.get(address)).absent()

    def aliases(self, model: str) -> dict[str, int]:
        return current_aliases(self.workspace.stores.metadata, model)

    def move_alias(self, address: str, alias: str) -> None:
        """Point an alias of the model at this version; the history of where it pointed is kept."""

        from carrara.models.address import check_alias

        version = self.get(address)
        move_alias(self.workspace.stores.metadata, version.model, check_alias(alias), version.version)

    def remove_alias(self, model: str, alias: str) -> None:
        """Let an alias lead nowhere; NotFoundError where it leads nowhere already."""

        from carrara.models.address import ModelAddress
        from carrara.models.registry import resolve

        resolve(self.workspace.stores, ModelAddress(model, alias=alias))
        move_alias(self.workspace.stores.metadata, model, alias, None)

    def approve(self, address: str, reason: str) -> Decision:
        """Write down that the current user found a version good, and why; CheckFailed where its gates failed."""

        from carrara.models.approval import approve

        return approve(self.workspace.stores, self.get(address), reason)

    def reject(self, address: str, reason: str) -> Decision:
        """Write down that a version must not be deployed, whatever its gates say."""

        from carrara.models.approval import reject

        return reject(self.workspace.stores, self.get(address), reason)

    def override(self, address: str, reason: str) -> Decision:
        """Let a version live whose gates failed; who did it, and why, stay in its record."""

        from carrara.models.approval import override

        return override(self.workspace.stores, self.get(address), reason)

    def describe(
        self,
        address: str,
        *,
        owner: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        """Say who owns a version, what it is for, and tags of it; a tag that is None is taken away."""
        version = self.get(address)
        said = {"owner": owner, "description": description}
        values: dict[str, str | None] = {name: text for name, text in said.items() if text is not None}
        values |= {f"{TAG}{check_name('tag', name)}": text for name, text in (tags or {}).items()}
        say_of_version(self.workspace.stores.metadata, version.model, version.version, values)

    def export(self, address: str, path: Path) -> Path:
        """Write a version as one file with the digests of all that is in it, and return its path."""

        from carrara.models.bundle import export_version

        return export_version(self.workspace.stores, self.get(address), path)

    def export_mlflow(self, address: str, folder: Path) -> Path:
        """Write a version as a model folder that MLflow opens and serves, and return its path."""

        from carrara.models.mlflow.export import export_mlflow

        return export_mlflow(self.workspace.stores, self.get(address), folder)

    def log_mlflow(
        self, address: str, server: str, *, experiment: str | None = None, name: str | None = None
    ) -> Logged:
        """Log a version as a run of MLflow's tracking server, with its report, and register it there; the same version
        again is the one that is there."""

        from carrara.models.mlflow.log import log_version
        from carrara.models.mlflow.server import TrackingServer

        found, version = TrackingServer.at(server), self.get(address)

        def report(path: Path) -> Path:
            return self.report(address, path)

        stores = self.workspace.stores
        return log_version(stores, version, found, experiment=experiment, name=name, report=report)

    def push(self, address: str, base: Path, *, warm_up: int = 0) -> Path:
        """Write a version that may live to the next numbered folder of a path that a model server polls; with `warm_up`
        requests for so many test rows, which the server runs first."""

        from carrara.pipelines.push import push

        return push(self.workspace.stores, self.get(address), base, warm_up=warm_up)

    def import_bundle(self, path: Path, name: str | None = None) -> ModelVersion:
        """Register what `export` has written, by default under the model's own name; a changed byte is refused.

        Its definitions are Python, and run when the version is used: import from whom you trust.
        """

        from carrara.models.bundle import import_version

        return import_version(self.workspace.stores, path, name)

    def import_mlflow(
        self,
        source: str | Path,
        name: str | None = None,
        *,
        which: str | None = None,
        kind: str | None = None,
        dataset: str | None = None,
        label: str | None = None,
        time: str | None = None,
        known_at: str | None = None,
        slices: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> ModelVersion:
        """Register a model of MLflow: of its folder, or `which` of a tracking store, a folder `mlruns`, an SQLite
        database or a server; by default under the name that it has there. With a `dataset` that has its inputs, its
        `label` and the `time` of each row, it is measured. Nothing is unpickled: DataError where that is all there is.
        """

        from carrara.pipelines.import_mlflow import import_mlflow
        from carrara.training.imports.definitions import Judged

        judged = Judged(dataset, label or "", time or "", known_at, tuple(slices)) if dataset else None
        ws, told = self.workspace, progress or Progress()
        definitions = ws.definitions if dataset else Definitions({}, {})
        return import_mlflow(
            ws.stores, definitions, str(source), which=which, name=name, kind=kind, judged=judged, progress=told
        )

    def card(self, address: str) -> str:
        """The model card, a README.md with YAML in front as Hugging Face's hub reads it."""

        from carrara.models.card import model_card

        return model_card(self.record(address))

    def delete(self, address: str) -> ModelVersion:
        """Delete a version that nothing leads to; CheckFailed names what does. Its number is never given again."""

        from carrara.models.deletion import delete

        version = self.get(address)
        delete(self.workspace.stores, version)
        return version
