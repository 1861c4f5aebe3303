"""Import from Feast: a registry that Feast 0.67 wrote becomes definitions that load, compute and join by time."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from carrara.core.definitions import Definitions, load_definitions, load_recorded_definitions
from carrara.core.errors import DataError, NotFoundError
from carrara.features.feast import FeastImport, import_feast
from carrara.features.feast.registry import read_registry
from carrara.features.service import resolve_features
from carrara.features.training_set import join_features
from carrara.workspace.workspace import Workspace
from commands import carrara

REPOSITORY = Path(__file__).with_name("feast_repository")


def day(number: int, hour: int = 0) -> datetime:
    """A time as pandas writes it for Feast: without a zone, and UTC is meant."""
    return datetime(2024, 1, number, hour)


@pytest.fixture
def repository(tmp_path) -> Path:
    """The repository and its data, in a folder of a workspace."""
    (tmp_path / "carrara.toml").write_text("")
    folder = tmp_path / "feast"
    shutil.copytree(REPOSITORY, folder)
    (folder / "data").mkdir()
    pl.DataFrame(
        {
            "driver_id": [1, 1, 1, 2],
            "event_timestamp": [day(1), day(2), day(2), day(2)],
            "created": [day(1), day(2), day(3), day(2)],
            "conv_rate": [0.25, 0.5, 0.75, 1.0],  # float64 in the file, Float32 in Feast
            "rating": [1.0, 2.0, 3.0, None],
            "trips_today": [10, 20, 30, 40],
            "shift": [1, 2, 3, 4],
            "licence": ["a", "b", "c", "d"],
            "active": [True, False, True, False],
            "since": [day(1)] * 4,
        }
    ).write_parquet(folder / "data" / "driver_stats.parquet")
    cities = pl.DataFrame({"city_code": ["x", "x"], "at": [day(1), day(4)], "demand": [1.5, 2.5]})
    cities.with_columns(pl.col("at").dt.replace_time_zone("America/New_York")).write_parquet(
        folder / "data" / "city.parquet"
    )
    visits = pl.DataFrame({"driver_id": [1, 2], "city_code": ["x", "x"], "at": [day(1), day(1)], "visits": [7, 8]})
    visits.write_parquet(folder / "data" / "driver_city.parquet")
    return folder


def imported(path: Path = REPOSITORY) -> FeastImport:
    """The import for a workspace in the folder above the repository."""
    return import_feast(path, (path if path.is_dir() else path.parent).parent)


def loaded(found: FeastImport) -> Definitions:
    definitions = load_recorded_definitions({"definitions.py": found.definitions}, "feast")
    definitions.specs()
    return definitions


def whys(found: FeastImport) -> dict[tuple[str, str], str]:
    return {(one.kind, one.name): one.why for one in found.skipped}


def changed(folder: Path, change: Any) -> Path:
    """A copy of the registry after `change` was done to its message, as a file."""
    registry = read_registry(REPOSITORY / "registry.db")
    change(registry)
    file = folder / "registry.db"
    file.write_bytes(registry.SerializeToString())
    return file


def asked(folder: Path, *arguments: str, code: int = 0) -> CompletedProcess[str]:
    done = carrara("feature", "import", "feast", *arguments, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_an_imported_repository_computes_and_joins_by_time(repository):
    root = repository.parent
    asked(root, "feast", "--output", "definitions.py")
    labels = pl.DataFrame(
        {
            "driver_id": [1, 1, 1, 2, 1],
            "city_code": ["x", "x", "x", "x", "y"],
            "at": [t.replace(tzinfo=UTC) for t in (day(1, 12), day(2, 12), day(3, 12), day(4), day(9))],
        }
    )
    references = ("driver_stats", "city:demand", "driver_in_city:visits")
    with Workspace(root) as workspace:
        assert {change.action for change in workspace.apply().changes} == {"added"}
        workspace.features.compute("driver_stats", "city", "driver_in_city")
        service = resolve_features(workspace.definitions, references, where="the test")
        joined = join_features(workspace.stores, service, labels, "at", where="the labels")
    # Of the two rows for day 2, the later one counts from when it was created; after two days none does.
    assert joined["driver_stats:conv_rate"].to_list() == [0.25, 0.5, 0.75, 1.0, None]
    assert joined["driver_stats:trips"].to_list() == [10, 20, 30, 40, None]
    assert joined["driver_stats:licence"].to_list() == ["a", "b", "c", "d", None]
    # 36 hours from midnight in New York, which is 5:00 in UTC.
    assert joined["city:demand"].to_list() == [1.5, 1.5, None, None, None]
    assert joined["driver_in_city:visits"].to_list() == [7, 7, 7, 8, None]
    assert joined.schema["driver_stats:conv_rate"] == pl.Float32
    assert joined.schema["driver_stats:shift"] == pl.Int32
    assert joined["driver_stats:since"][0] == datetime(2024, 1, 1, tzinfo=UTC)


def test_a_feature_view_says_what_feast_said():
    view = loaded(imported()).of_kind("feature view")["driver_stats"]
    assert (view.entity, view.source) == ("driver", "driver_stats")
    assert (view.event_time, view.created_time, view.ttl) == ("event_timestamp", "created", "2d")
    assert (view.description, view.owner) == ('What a driver "did" lately.', "drivers@rides.example")
    assert view.features == {
        "conv_rate": "float32",
        "rating": "float64",
        "trips": "int64",
        "shift": "int32",
        "licence": "string",
        "active": "bool",
        "since": "datetime",
    }


def test_a_ttl_is_written_in_the_largest_unit_that_holds_it_and_none_stays_none():
    views = loaded(imported()).of_kind("feature view")
    ttls = {"driver_stats": "2d", "city": "36h", "class_": "90s", "driver_in_city": None}
    assert {name: view.ttl for name, view in views.items()} == ttls


def test_entities_have_their_join_keys_and_several_make_one():
    entities = loaded(imported()).of_kind("entity")
    assert {name: entity.keys for name, entity in entities.items()} == {
        "driver": ("driver_id",),
        "city": ("city_code",),
        "vendor_2": ("vendor id",),
        "driver_and_city": ("driver_id", "city_code"),
    }
    assert entities["driver"].description == "Who drives."


def test_views_of_the_same_entities_in_another_order_share_one(tmp_path):
    def add(registry):
        other = registry.feature_views.add()
        other.CopyFrom(next(v for v in registry.feature_views if v.spec.name == "driver_in_city"))
        other.spec.name = "again"
        other.spec.entities[:] = ["city", "driver"]

    definitions = loaded(imported(changed(tmp_path, add)))
    assert len(definitions.of_kind("entity")) == 4
    assert definitions.of_kind("feature view")["again"].entity == "driver_and_city"


def test_file_sources_are_addressed_from_the_workspace(repository):
    datasets = loaded(imported(repository)).of_kind("dataset")
    assert datasets["driver_stats"].source == "feast/data/driver_stats.parquet"
    assert datasets["driver_stats"].description == "Nightly dump of the drivers' numbers."
    assert datasets["driver_city"].source == "feast/data/driver_city.parquet"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("s3://bucket/a.parquet", "s3://bucket/a.parquet"),
        ("file:///data/a.parquet", "/data/a.parquet"),
        ("/data/a.parquet", "/data/a.parquet"),
        ("../a.parquet", "a.parquet"),
        ("parts", "feast/parts/*.parquet"),
        ("delta", "feast/delta"),
    ],
)
def test_an_address_of_each_kind(repository, uri, address):
    (repository / "parts").mkdir()
    (repository / "delta" / "_delta_log").mkdir(parents=True)

    def move(registry):
        next(s for s in registry.data_sources if s.name == "city").file_options.uri = uri

    changed(repository, move)
    assert loaded(imported(repository)).of_kind("dataset")["city"].source == address


def test_what_a_reader_should_look_at_is_noted(repository):
    (repository / "data" / "city.parquet").unlink()
    notes = imported(repository).notes
    assert "dataset 'city' reads feast/data/city.parquet: the file is not there now" in notes
    assert "entity 'vendor-2' is named vendor_2" in notes
    assert not [note for note in notes if "driver_stats" in note]


def test_a_source_in_a_warehouse_is_declared_with_what_feast_had_and_reported():
    found = imported()
    assert "TODO: in Feast this is BigQuery, by the query:\n#     SELECT `vendor id`, at, rating\n" in found.definitions
    assert loaded(found).of_kind("dataset")["vendors"].source == "vendors.parquet"
    assert "vendors" not in found.imported["dataset"]
    assert "BigQuery" in whys(found)["source", "vendors"]


def test_nothing_is_left_out_in_silence():
    found = imported()
    assert set(whys(found)) == {
        ("source", "vendors"),
        ("source", "trip_request"),
        ("source", "moves"),
        ("source", "pushed_city"),
        ("feature", "driver_stats:embedding"),
        ("feature", "driver_stats:photo"),
        ("feature", "driver_stats:extras"),
        ("feature", "pictures:photo"),
        ("feature view", "pictures"),
        ("feature view", "world"),
        ("feature service", "late"),
        ("stream feature view", "driver_moves"),
        ("on-demand feature view", "trip"),
    }
    assert "FLOAT_LIST" in whys(found)["feature", "driver_stats:embedding"]
    assert "dataset 'driver_city'" in whys(found)["stream feature view", "driver_moves"]
    for one in found.skipped:
        assert f"# {one.kind} {one.name}: " in found.definitions


def test_a_feature_service_is_a_comment_that_names_its_features():
    said = " ".join(imported().definitions.replace("\n#", "").split())
    assert (
        "feature service late: driver_stats:conv_rate, driver_stats:trips, city:demand (as here), "
        "trip:far (not imported), world:oil_price (not imported). What the late model reads." in said
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda spec: spec.feature_transformation.SetInParent(), "it transforms other rows"),
        (lambda spec: spec.ClearField("batch_source"), "it has no batch source"),
        (lambda spec: spec.batch_source.ClearField("timestamp_field"), "names no timestamp field"),
        (lambda spec: spec.entities.append("nobody"), "its entity 'nobody' is not in the registry"),
        (lambda spec: setattr(spec.entity_columns[0], "value_type", 5), "its key 'driver_id' is of the type DOUBLE"),
        (lambda spec: setattr(spec.entity_columns[0], "value_type", 99), "of the type number 99"),
    ],
)
def test_a_view_that_cannot_be_taken_over_says_why(tmp_path, change, why):
    file = changed(tmp_path, lambda registry: change(registry.feature_views[0].spec))
    found = imported(file)
    assert why in whys(found)["feature view", "driver_stats"]
    assert "driver_stats" not in loaded(found).of_kind("feature view")


def test_of_a_registry_with_several_projects_one_is_imported(tmp_path):
    def share(registry):
        other = registry.entities.add()
        other.spec.name, other.spec.project, other.spec.join_key = "guest", "hotels", "guest_id"

    file = changed(tmp_path, share)
    with pytest.raises(DataError, match=r"(?s)holds the projects hotels, rides.*--project"):
        imported(file)
    found = import_feast(file, tmp_path, "hotels")
    assert found.imported == {"entity": ["guest"], "dataset": [], "feature view": []}
    assert list(whys(found)) == [("project", "rides")]
    with pytest.raises(NotFoundError, match=r"(?s)no project 'hotel'.*Did you mean 'hotels'"):
        import_feast(file, tmp_path, "hotel")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["nw", "carrara", "rows", "class", "x", "x_entity", "__name__", "x y", "x\ny", "x\u2028y", '"""', "\\", "ﬁ", "²"]
)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_whatever_the_names_are_the_definitions_load_and_hold_every_view(tmp_path_factory, named):
    def rename(registry):
        registry.ClearField("feature_services")
        pattern = registry.feature_views[0]
        del registry.feature_views[:], registry.entities[:], registry.data_sources[:]
        for number, (view_name, entity_name, source_name, text) in enumerate(named):
            # Feast's names are unique; ours need not stay so when letters are replaced.
            entity, view = registry.entities.add().spec, registry.feature_views.add()
            entity.name, entity.project, entity.join_key = f"{entity_name}{'é' * number}", "rides", text
            view.CopyFrom(pattern)
            view.spec.name, view.spec.entities[:] = f"{view_name}{'-' * number}", [entity.name]
            view.spec.batch_source.name = f"{source_name}{' ' * number}"
            view.spec.description = view.spec.owner = view.spec.tags[text] = text
            view.spec.features[0].name = view.spec.features[1].description = text

    file = changed(tmp_path_factory.mktemp("named"), rename)
    found = imported(file)
    definitions = loaded(found)
    for kind, names in found.imported.items():
        assert set(definitions.of_kind(kind)) == set(names)
    wanted = [text for _, _, _, text in named]
    assert [view.owner for view in definitions.of_kind("feature view").values()] == wanted


def test_the_registry_file_itself_will_do():
    assert imported(REPOSITORY / "registry.db").definitions == imported(REPOSITORY).definitions


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ("sql\n  path: postgresql://me:secret@host/feast", r"of type 'sql', and only a file can be read\n.*proto\(\)"),
        ("snowflake.registry", "of type 'snowflake.registry'"),
        ("file\n  path: s3://bucket/registry.db", r"at s3://…, and only a local file can be read\n.*Copy it"),
        ("file\n  path: sqlite:///registry.db", r"at sqlite://…, and only a local file"),
        ("file\n  path: nowhere.db", r"nowhere.db that .*feature_store.yaml names is not there\n.*feast apply"),
    ],
)
def test_a_registry_that_is_no_local_file_is_refused_without_its_secrets(tmp_path, registry, message):
    (tmp_path / "feature_store.yaml").write_text(f"project: rides\nregistry:\n  registry_type: {registry}\n")
    with pytest.raises(DataError, match=message) as refused:
        imported(tmp_path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("setting", ["registry: there.db", "registry:\n  path: $WHERE", "registry: {path: there.db}"])
def test_the_registry_is_where_the_configuration_says(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("WHERE", "there.db")
    (tmp_path / "feature_store.yaml").write_text(f"project: rides\n{setting}\n")
    shutil.copy(REPOSITORY / "registry.db", tmp_path / "there.db")
    assert imported(tmp_path).project == "rides"


@pytest.mark.parametrize("text", ["registry: [", "- a\n- b", ""])
def test_a_configuration_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "feature_store.yaml").write_text(text)
    with pytest.raises(DataError, match=r"feature_store.yaml (is no YAML|does not configure)"):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "version is none"),
        (b"\x0a\xff\xff\xff not a message", "no Feast registry, or it is damaged"),
        (b"PAR1 something else", "no Feast registry, or it is damaged"),
        (b"SQLite format 3\x00", "is an SQL registry"),
    ],
)
def test_a_file_that_is_no_registry_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "registry.db").write_bytes(content)
    with pytest.raises(DataError, match=rf"registry\.db .*{message}"):
        imported(tmp_path / "registry.db")


def test_a_registry_that_is_cut_short_is_refused_unless_what_is_left_is_whole(tmp_path):
    whole, refused = (REPOSITORY / "registry.db").read_bytes(), []
    for length in range(0, len(whole), 97):
        (tmp_path / "registry.db").write_bytes(whole[:length])
        try:
            loaded(imported(tmp_path / "registry.db"))
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all("registry.db" in message for message in refused)


def test_a_folder_that_is_no_repository_names_the_one_below_it(tmp_path):
    with pytest.raises(DataError, match=r"is no Feast repository: it has no feature_store\.yaml"):
        imported(tmp_path)
    shutil.copytree(REPOSITORY, tmp_path / "feature_repo")
    with pytest.raises(DataError, match=r"Did you mean .*feature_repo"):
        imported(tmp_path)
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        imported(tmp_path / "nowhere")


def test_the_command_prints_definitions_and_says_the_rest_on_standard_error(tmp_path):
    done = asked(tmp_path, str(REPOSITORY))
    assert loaded(FeastImport("", done.stdout, {}, [], [])).of_kind("feature view")
    assert "imported from project 'rides': 4 entities, 4 datasets, 4 feature views" in done.stderr
    assert "  stream feature view driver_moves: Carrara reads no streams" in done.stderr


def test_the_command_writes_a_new_file_only(tmp_path):
    assert asked(tmp_path, str(REPOSITORY), "--output", "rides.py").stdout == ""
    assert "driver_stats" in load_definitions([tmp_path / "rides.py"]).of_kind("feature view")
    (tmp_path / "rides.py").write_text("mine")
    assert "rides.py is there already" in asked(tmp_path, str(REPOSITORY), "--output", "rides.py", code=1).stderr
    assert (tmp_path / "rides.py").read_text() == "mine"
    assert "cannot be written" in asked(tmp_path, str(REPOSITORY), "--output", "no/rides.py", code=1).stderr


def test_the_command_answers_in_json(tmp_path):
    answer = json.loads(asked(tmp_path, str(REPOSITORY), "--json").stdout)
    assert answer["project"] == "rides"
    assert answer["imported"]["feature view"] == ["driver_stats", "city", "driver_in_city", "class_"]
    assert {"kind", "name", "why"} == set(answer["skipped"][0])
    assert answer["definitions"].startswith("# Imported from the Feast project rides")
    assert answer["output"] is None
