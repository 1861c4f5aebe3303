"""Rankings and several labels all the way: trained, judged, served, predicted in batch, compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, ndcg_score, roc_auc_score

from carrara.core.errors import DefinitionError, NotFoundError
from carrara.monitoring.prediction_log import read_log
from carrara.monitoring.sampling import Sampling
from carrara.workspace.workspace import Workspace

DEFINITIONS = '''
import carrara

searches = carrara.Dataset("searches", source="searches.parquet")
search_item = carrara.Entity("item", keys=("item",))


@carrara.on_demand_view(
    request={"price": "float64", "stars": "float64", "distance": "float64"},
    features={"price": "float64", "stars": "float64", "distance": "float64"},
)
def offer(price, stars, distance):
    """What is offered."""
    return {"price": price, "stars": stars, "distance": distance}


SPLIT = carrara.TimeSplit(validation_from="2024-01-04", test_from="2024-01-05")


def order(name, trainer):
    return carrara.Model(
        name,
        features=("offer",),
        label=carrara.Label("searches", "relevance", "at", kind="ranking", group="search"),
        split=SPLIT,
        trainer=trainer,
        slices=("country",),
        baseline=("stars",),
        gates=(carrara.at_least("ndcg", 0.8), carrara.better_than_baseline("ndcg"),
               carrara.not_worse_than_champion("ndcg")),
    )


by_xgboost = order("by_xgboost", carrara.XGBoost(trees=30, depth=3))
by_lightgbm = order("by_lightgbm", carrara.LightGBM(trees=30, leaves=7))


def tags(name, trainer, column="tags", **options):
    return carrara.Model(
        name,
        features=("offer",),
        label=carrara.Label("searches", column, "at", kind="multilabel"),
        split=SPLIT,
        trainer=trainer,
        slices=("country",),
        baseline=("country",),
        gates=(carrara.at_least("macro_roc_auc", 0.8),),
        **options,
    )


tags_by_xgboost = tags("tags_by_xgboost", carrara.XGBoost(trees=30, depth=3))
columns_by_linear = tags("columns_by_linear", carrara.Linear(), ("cheap", "good"),
                         transforms=(carrara.Standardise(),))
'''


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orders") / "ws"
    folder.mkdir()
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "carrara.toml").write_text('[workspace]\nname = "orders"\n')
    table().write_parquet(folder / "searches.parquet")
    with Workspace(folder) as workspace:
        workspace.apply()
        yield workspace


def table(searches: int = 400, items: int = 6, seed: int = 5) -> pl.DataFrame:
    """Searches with six offers each, of which the near and good ones are relevant."""
    random = np.random.default_rng(seed)
    rows, start = searches * items, datetime(2024, 1, 1, tzinfo=UTC)
    price, stars, distance = random.uniform(20, 300, rows), random.integers(1, 6, rows), random.exponential(5, rows)
    worth = 1.2 * stars - 0.4 * distance - price / 80 + random.normal(0, 0.5, rows)
    cheap, good = price + random.normal(0, 20, rows) < 100, stars + random.normal(0, 0.5, rows) > 3.5
    names = [
        [name for name, has in zip(("cheap", "good"), pair, strict=True) if has]
        for pair in zip(cheap, good, strict=True)
    ]
    return (
        pl.DataFrame(
            {
                "search": np.repeat([f"s{n}" for n in range(searches)], items),
                "item": [f"i{n}" for n in range(rows)],
                "country": np.repeat(np.array(["at", "it"])[random.integers(0, 2, searches)], items),
                "at": [start + timedelta(minutes=18 * n) for n in range(searches) for _ in range(items)],
                "price": price,
                "stars": stars.astype(float),
                "distance": distance,
                "relevance": np.digitize(worth, (0.5, 2.5, 4.0)),
                "cheap": cheap,
                "good": good,
                "tags": pl.Series(names, dtype=pl.List(pl.String)),
            }
        )
        .sample(fraction=1, shuffle=True, seed=seed)
        .sort("at")
    )


def test_items_are_ranked_and_judged_by_query(workspace):
    trained = workspace.train("by_xgboost")
    assert list(trained.evaluation.metrics) == ["ndcg", "ndcg@10", "map"]
    assert trained.gates["passed"], trained.gates
    record = workspace.models.record("by_xgboost@1")
    assert record["signature"]["serving_default"]["outputs"] == [{"name": "score", "dtype": "float32", "shape": [None]}]
    assert record["parameters"]["export"]["equal"]
    assert {"ndcg_by_places", "relevance_by_place", "queries_by_ndcg", "slice_bars"} <= set(trained.evaluation.charts)
    assert {one.value for one in trained.evaluation.slices} == {"(other)"}  # of queries, of which there are few

    test = workspace.datasets.read("searches").collect().filter(pl.col("at") >= datetime(2024, 1, 5, tzinfo=UTC))
    scores = workspace.predict("by_xgboost@1", asked(test)).rows["score"].to_numpy()
    judged = [
        ndcg_score([part["relevance"].to_numpy()], [part["score"].to_numpy()])
        for part in test.with_columns(score=scores).partition_by("search")
    ]
    assert trained.evaluation.metrics["ndcg"].value == pytest.approx(np.mean(judged), abs=1e-6)


def test_a_served_ranking_is_watched_by_query(workspace):
    if not workspace.models.versions("by_xgboost"):
        workspace.train("by_xgboost")
    test = workspace.datasets.read("searches").collect().filter(pl.col("at") >= datetime(2024, 1, 5, tzinfo=UTC))
    ids = pl.Series([f"p{n}" for n in range(test.height)])
    named = test.select("price", "stars", "distance", event_time="at", query_id="search", prediction_id=ids)
    scores = workspace.predict("by_xgboost@1", named.to_dicts(), log=True).rows["score"]
    workspace.monitoring.outcomes(
        "by_xgboost@1", pl.DataFrame({"prediction_id": ids, "outcome": test["relevance"].cast(pl.Float64)})
    )
    workspace.monitoring.run("by_xgboost")
    with pytest.raises(NotFoundError, match="by_xgbost"):
        workspace.monitoring.run("by_xgbost")
    window = next(one for one in workspace.monitoring.show("by_xgboost@1").windows if one.metrics)
    inside = test.with_columns(score=scores).filter(pl.col("at").is_between(window.start, window.end, closed="left"))
    judged = [
        ndcg_score([part["relevance"].to_numpy()], [part["score"].to_numpy()]) for part in inside.partition_by("search")
    ]
    assert window.outcomes == inside.height
    assert window.metrics["ndcg"]["value"] == pytest.approx(np.mean(judged), abs=1e-6)
    assert {"map", "ndcg@10"} < set(window.metrics)


def test_another_library_ranks_as_well_and_both_are_compared(workspace):
    trained = workspace.train("by_lightgbm")
    assert trained.gates["passed"], trained.gates
    assert workspace.models.record("by_lightgbm@1")["parameters"]["export"]["equal"]
    if not workspace.models.versions("by_xgboost"):
        workspace.train("by_xgboost")
    compared = workspace.models.compare("by_lightgbm@1", "by_xgboost@1").others[0]
    assert set(compared.metrics) == {"ndcg", "ndcg@10", "map"}
    assert abs(compared.metrics["ndcg"].difference) < 0.1


def test_the_rows_of_a_call_are_one_query_where_none_is_named(workspace):
    for rows in (4, 3):
        asked_for = [{"price": 30.0 + row, "stars": 4.0, "distance": 1.0} for row in range(rows)]
        workspace.predict("by_lightgbm@1", asked_for, log=True)
    logged = read_log(workspace.stores, "by_lightgbm")
    assert sorted(logged["query_id"].value_counts()["count"]) == [3, 4]
    kept = Sampling(0.5).kept(logged)
    assert set(kept["query_id"].value_counts()["count"]) <= {3, 4}


@pytest.mark.parametrize("model", ["tags_by_xgboost", "columns_by_linear"])
def test_several_labels_are_learned_and_judged(workspace, model, tmp_path):
    trained = workspace.train(model)
    assert trained.gates["passed"], trained.gates
    assert trained.evaluation.metrics["macro_roc_auc"].value > trained.evaluation.baseline["macro_roc_auc"].value
    record = workspace.models.record(f"{model}@1")
    assert record["parameters"]["classes"] == ["cheap", "good"]
    assert record["parameters"]["export"]["equal"], record["parameters"]["export"]
    assert {"labels", "roc_curves"} <= set(trained.evaluation.charts)

    test = workspace.datasets.read("searches").collect().filter(pl.col("at") >= datetime(2024, 1, 5, tzinfo=UTC))
    scores = np.array(workspace.predict(f"{model}@1", asked(test)).rows["probabilities"].to_list())
    truth = test.select("cheap", "good").to_numpy()
    metrics = trained.evaluation.metrics
    assert metrics["macro_roc_auc"].value == pytest.approx(roc_auc_score(truth, scores, average="macro"), abs=1e-6)
    assert metrics["micro_f1"].value == pytest.approx(f1_score(truth, scores >= 0.5, average="micro"), abs=1e-6)

    test.rename({"at": "event_time"}).drop("tags").write_parquet(tmp_path / "rows.parquet")
    workspace.predict_batch(f"{model}@1", tmp_path / "rows.parquet", tmp_path / "out.parquet")
    out = pl.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(out.select("probabilities:cheap", "probabilities:good").to_numpy(), scores, atol=1e-6)
    named = [[n for n, p in zip(("cheap", "good"), row, strict=True) if p >= 0.5] for row in scores.tolist()]
    assert out["predicted"].to_list() == named
    if model == "tags_by_xgboost":
        learned = workspace.models.parameters(f"{model}@1")
        assert (learned["kind"], learned["outputs"]) == ("trees", 2)


def asked(rows: pl.DataFrame) -> list[dict[str, float]]:
    return rows.select("price", "stars", "distance").to_dicts()


def test_what_a_trainer_cannot_learn_is_told_when_it_is_declared():
    import carrara

    split = carrara.TimeSplit("2024-01-04", "2024-01-05")
    label = carrara.Label("d", "relevance", "at", kind="ranking", group="search")
    with pytest.raises(DefinitionError, match="'linear' of model 'm' learns no ranking label"):
        carrara.Model("m", ("v",), label, split, carrara.Linear())
    with pytest.raises(DefinitionError, match="names no group"):
        carrara.Label("d", "relevance", "at", kind="ranking")
    with pytest.raises(DefinitionError, match="names 2 columns, and is binary"):
        carrara.Label("d", ("a", "b"), "at")
