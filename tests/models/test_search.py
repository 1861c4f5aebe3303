"""Searching versions: conditions in words, on SQLite and on PostgreSQL; never run as code."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from carrara.core.errors import CarraraError
from carrara.metadata.aliases import move_alias
from carrara.metadata.decisions import add_decision
from carrara.metadata.deployments import deploy
from carrara.metadata.model_search import Page, count_models
from carrara.metadata.model_values import say_of_version
from carrara.metadata.where import Both, Comparison, Either, Not, parse_where
from carrara.models.deletion import delete
from carrara.models.registry import list_models, resolve
from metadata_servers import METADATA_KINDS, new_database
from tiny_models import add_tiny, stores_at


@pytest.fixture(scope="module", params=METADATA_KINDS)
def stores(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    with ExitStack() as stack:
        if request.param == "postgresql":
            url = stack.enter_context(new_database(request.getfixturevalue("_postgresql")))
        else:
            url = f"sqlite:///{folder}/m.db"
        yield from _filled(stores_at(url, folder))


def _filled(made):
    add_tiny(made, "a", roc_auc=0.6, owner="ann", parameters={"trees": 10, "name": "xgboost"})
    add_tiny(made, "a", roc_auc=0.8, owner="ann", parameters={"trees": 20, "name": "xgboost"})
    add_tiny(made, "b", roc_auc=0.9, log_loss=0.4, owner="bob", gates_passed=False)
    add_tiny(made, "b", rmse=-1.5)
    say_of_version(made.metadata, "b", 2, {"tags.market": "eu west", "owner": "ann"})
    move_alias(made.metadata, "a", "champion", 1)
    move_alias(made.metadata, "a", "champion", 2)
    move_alias(made.metadata, "b", "old", 1)
    move_alias(made.metadata, "b", "old", None)
    deploy(made.metadata, "shop", "a", 1)
    deploy(made.metadata, "shop", "a", 2)
    add_decision(made.metadata, "b", 1, "overridden", "it is needed today")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("metrics.roc_auc > 0.7", "a@2 b@1"),
        ("metrics.roc_auc > 0.7 and owner = 'ann'", "a@2"),
        ("metrics.roc_auc >= 0.9 OR parameters.trees = 10", "a@1 b@1"),
        ("not metrics.roc_auc > 0.7", "a@1 b@2"),
        ("NOT (owner = 'ann' or gates_passed = false)", ""),
        ("gates_passed = false", "b@1"),
        ("gates_passed", None),
        ("metrics.rmse < -1", "b@2"),
        ("owner != 'ann'", "b@1"),
        ("owner in ('bob', 'eve')", "b@1"),
        ("owner not in ('bob', 'eve')", "a@1 a@2 b@2"),
        ("tags.market LIKE 'EU%'", "b@2"),
        ('tags["market"] = "eu west"', "b@2"),
        ("alias = 'champion'", "a@2"),
        ("alias = 'old'", ""),
        ("endpoint = 'shop'", "a@2"),
        ("decision = 'overridden'", "b@1"),
        ("model = 'a' and version = 1", "a@1"),
        ("model like 'B%'", "b@1 b@2"),
        ("registered_at > '2020-01-01'", "a@1 a@2 b@1 b@2"),
        ("registered_at < '2020-01-01'", ""),
        ("datasets.trips = 4 and format != 'xgboost'", "a@1 a@2 b@1 b@2"),
        ("owner = 'x\\' or 1=1 --'", ""),
        ('owner = "\' OR 1=1; DROP TABLE versions"', ""),
        ("metrics.roc_auc > 'high'", ""),
    ],
)
def test_a_condition_finds_what_it_says(stores, where, expected):
    if expected is None:
        with pytest.raises(CarraraError, match="cannot be read"):
            list_models(stores, page=Page(where))
        return
    assert sorted(map(str, list_models(stores, page=Page(where)))) == expected.split()
    assert count_models(stores.metadata, None, where) == len(expected.split())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("__import__('os').system('touch x') = 1", "not the name of a field"),
        ("metrics.roc_auc > 1 + 1", "not a number"),
        ("metrics.roc_auc", "compares no field"),
        ("0.5 < metrics.roc_auc < 0.9", "compares no field"),
        ("lambda: 1", "compares no field"),
        ("a.b = (", "cannot be read"),
        ("owner = 'ann", "cannot be read"),
        ("owner = 'ann' # and more", "cannot be read"),
        ("not " * 400 + "version = 1", "cannot be read"),
        ("(" * 300 + "version = 1" + ")" * 300, "cannot be read"),
        ("version = " + "9" * 5_000, "4,000 characters"),
        ("metric.roc_auc > 1", "no field 'metric.roc_auc'"),
        ("onwer = 'ann'", "no field 'onwer'"),
        ("version = 'one'", "is a number"),
        ("model = 1", "is a text"),
        ("registered_at > 5", "is a time"),
        ("registered_at > 'yesterday'", "is not a time"),
        ("", None),
    ],
)
def test_what_is_no_condition_is_refused_in_words_and_never_run(stores, where, said):
    if said is None:
        assert len(list_models(stores, page=Page(where))) == 4
        return
    with pytest.raises(CarraraError, match=said):
        list_models(stores, page=Page(where))


def test_versions_are_sorted_and_come_in_pages(stores):
    def page(*arguments, **more) -> list[str]:
        return [str(version) for version in list_models(stores, page=Page(*arguments, **more))]

    assert page(sort="-metrics.roc_auc") == ["b@1", "a@2", "a@1", "b@2"]
    assert page(sort="metrics.roc_auc") == ["a@1", "a@2", "b@1", "b@2"]
    assert page(sort="-owner", limit=1) == ["b@1"]
    assert page() == ["b@2", "b@1", "a@2", "a@1"]
    assert page(limit=2, offset=1) == ["b@1", "a@2"]
    assert [str(version) for version in list_models(stores)] == ["a@1", "a@2", "b@1", "b@2"]
    with pytest.raises(CarraraError, match="no field"):
        page(sort="-size")


def test_a_deleted_version_is_not_found(stores):
    add_tiny(stores, "gone", roc_auc=0.1)
    assert [str(v) for v in list_models(stores, page=Page("metrics.roc_auc < 0.2"))] == ["gone@1"]
    delete(stores, resolve(stores, "gone@1"))
    assert list_models(stores, page=Page("metrics.roc_auc < 0.2")) == []


def test_a_list_reads_no_summary_before_it_is_asked_for(stores):
    """Of 10,000 versions, those are decoded that are looked at."""
    versions = list_models(stores)
    assert all("_summary" not in vars(version) for version in versions)
    assert versions[0].metrics == {"roc_auc": 0.6}


def test_words_become_a_tree():
    assert parse_where("a = 1 AND NOT (b.c < -2 or d in (1, 2))") == Both(
        (
            Comparison("a", "=", 1),
            Not(Either((Comparison("b.c", "<", -2), Comparison("d", "in", (1, 2))))),
        )
    )
