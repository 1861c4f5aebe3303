"""A version as one file: carried whole, opened as if an enemy had made it; and its card."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from dataclasses import dataclass, field

import msgspec
import pytest
import yaml

from carrara.core.errors import CarraraError, CorruptArtifact, DataError, StorageError
from carrara.models import bundle_file
from carrara.models.bundle import export_version, import_version
from carrara.models.bundle_file import FILES, INDEX
from carrara.models.card import model_card
from carrara.models.registry import list_models, opened, read_record, resolve
from tiny_models import add_tiny, stores_at


@pytest.fixture
def stores(tmp_path):
    made = stores_at(f"sqlite:///{tmp_path}/here.db", tmp_path / "here")
    add_tiny(made, owner="ann", roc_auc=0.75)
    yield made
    made.close()


@pytest.fixture
def elsewhere(tmp_path):
    made = stores_at(f"sqlite:///{tmp_path}/there.db", tmp_path / "there")
    yield made
    made.close()


@pytest.fixture
def exported(stores, tmp_path):
    return export_version(stores, resolve(stores, "tiny"), tmp_path / "tiny.carrara")


def test_a_version_is_carried_to_another_workspace_with_all_its_files(stores, elsewhere, exported):
    made = import_version(elsewhere, exported)
    ours = resolve(stores, "tiny")
    assert (str(made), made.manifest, made.metrics) == ("tiny@1", ours.manifest, {"roc_auc": 0.75})
    assert elsewhere.artifacts.get_files(made.manifest) == stores.artifacts.get_files(ours.manifest)
    with opened(elsewhere, made) as servable:
        assert servable.signature.inputs[0].name == "x"
    record = read_record(elsewhere, made)
    assert record["owner"] == "ann"
    assert record["lineage"][0]["source"] == "file:tiny.carrara"
    assert str(import_version(elsewhere, exported)) == "tiny@1"
    assert str(import_version(elsewhere, exported, "other")) == "other@1"
    assert read_record(elsewhere, resolve(elsewhere, "other"))["model"] == "other"


def test_equal_versions_make_equal_files(stores, exported, tmp_path):
    again = export_version(stores, resolve(stores, "tiny"), tmp_path / "again.carrara")
    assert again.read_bytes() == exported.read_bytes()


def test_every_changed_byte_of_its_files_is_found(elsewhere, exported, tmp_path):
    """P9: one bit at each of many places; where it is in what nobody reads, what is imported is the same."""
    data = exported.read_bytes()
    good = import_version(elsewhere, exported).manifest
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        path = tmp_path / "damaged.carrara"
        path.write_bytes(damaged)
        try:
            made = import_version(elsewhere, path)
        except CarraraError:
            continue
        assert made.manifest == good
    assert {version.manifest for version in list_models(elsewhere)} == {good}


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(elsewhere, exported, keep):
    data = exported.read_bytes()
    exported.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match="no bundle of a model, or a damaged one"):
        import_version(elsewhere, exported)
    assert list_models(elsewhere) == []


@dataclass
class Forged:
    """What an enemy changes in a bundle: entries of the index, and of the archive."""

    index: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    extra: list = field(default_factory=list)


def forge(source, target, forged: Forged):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        index = json.loads(old.read(INDEX))
        for name in list(index["files"]):
            if name in forged.files:
                index["files"][forged.files[name]] = index["files"].pop(name)
        new.writestr(INDEX, json.dumps({**index, **forged.index}))
        for info in old.infolist():
            if info.filename != INDEX:
                name = info.filename.removeprefix(FILES)
                new.writestr(FILES + forged.files.get(name, name), old.read(info))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two entries of one name are what is forged
            for info, data in forged.extra:
                new.writestr(info, data)
    return target


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


LEARNED = "learned/parameters.json"


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (Forged(files={LEARNED: "learned/../../up"}), "which no version has"),
        (Forged(files={LEARNED: "/etc/cron.d/x"}), "which no version has"),
        (Forged(files={LEARNED: "elsewhere/x"}), "which no version has"),
        (Forged(files={LEARNED: "learned/a\\b"}), "which no version has"),
        (Forged(files={LEARNED: "learned/left\u202eright"}), "which no version has"),
        (Forged(files={LEARNED: "learned/C:x"}), "which no version has"),
        (Forged(files={LEARNED: "learned/" + "x" * 4_096}), "which no version has"),
        (Forged(files={LEARNED: "servable/MODEL.onnx"}), "differ in case alone"),
        (Forged(extra=[(link(FILES + "learned/link"), "/etc/passwd")]), "which its index does not list"),
        (Forged(extra=[("../../outside", "x")]), "which its index does not list"),
        (Forged(extra=[(FILES + LEARNED, "another")]), "2 times, and not once"),
        (Forged(index={"model": "../up"}), "cannot be the name of a model"),
        (Forged(index={"form": 9}), "newer Carrara"),
        (Forged(index={"files": {"record.json": {"sha256": "0" * 64, "bytes": 1 << 40}}}), "says it holds more than"),
        (Forged(index={"files": "none"}), "cannot be read"),
        (Forged(index={"files": {}}), "which its index does not list"),
    ],
)
def test_a_forged_bundle_is_refused_and_nothing_is_registered(elsewhere, exported, tmp_path, forged, said):
    """F11."""
    with pytest.raises(CarraraError, match=said):
        import_version(elsewhere, forge(exported, tmp_path / "forged.carrara", forged))
    assert list_models(elsewhere) == []
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_unpacks_to_far_more_than_it_says_is_not_unpacked(elsewhere, exported, tmp_path):
    """F11: a bomb of 200 MB says that it is 10 bytes."""
    with zipfile.ZipFile(exported) as old:
        index = json.loads(old.read(INDEX))
    index["files"][LEARNED]["bytes"] = 10
    target = tmp_path / "bomb.carrara"
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(INDEX, json.dumps(index))
        for info in old.infolist():
            if info.filename != INDEX:
                bomb = b"\0" * (200 << 20) if info.filename.endswith("parameters.json") else old.read(info)
                new.writestr(info.filename, bomb)
    assert target.stat().st_size < 1_000_000
    with pytest.raises(DataError, match="larger than the 10 bytes"):
        import_version(elsewhere, target)


def test_an_archive_of_very_many_files_is_refused(elsewhere, exported, tmp_path, monkeypatch):
    """F11."""
    monkeypatch.setattr(bundle_file, "MOST_FILES", 5)
    extra = [(f"{FILES}learned/{number}", "") for number in range(6)]
    with pytest.raises(DataError, match="more than 5 files"):
        import_version(elsewhere, forge(exported, tmp_path / "many.carrara", Forged(extra=extra)))


def test_a_file_that_the_index_names_with_another_digest_is_named(elsewhere, exported, tmp_path):
    with zipfile.ZipFile(exported) as old:
        index = json.loads(old.read(INDEX))
    index["files"]["servable/model.onnx"]["sha256"] = "0" * 64
    with pytest.raises(CorruptArtifact, match=r"servable/model\.onnx"):
        import_version(elsewhere, forge(exported, tmp_path / "forged.carrara", Forged(index={"files": index["files"]})))


def test_what_is_no_archive_is_told(elsewhere, tmp_path):
    path = tmp_path / "x"
    for data in (b"", b"PK\3\4", struct.pack("<I", 0x06054B50) * 10, b"hello" * 100):
        path.write_bytes(data)
        with pytest.raises(DataError):
            import_version(elsewhere, path)
    with pytest.raises(DataError, match="cannot be read"):
        import_version(elsewhere, tmp_path / "absent")
    with pytest.raises(StorageError, match="cannot be written"):
        export_version(elsewhere, add_tiny(elsewhere), tmp_path / "x" / "y")


def test_the_card_of_a_version_is_markdown_with_yaml_in_front(trained):
    trained.models.describe(
        "late@1", owner="ann <ann@example.org>", description="Is it late?\n# no heading | no column"
    )
    card = trained.models.card("late@1")
    front, body = card.split("---\n")[1], card.split("---\n", 2)[2]
    told = yaml.safe_load(front)
    assert told["datasets"] == ["depots", "trips"]
    assert told["pipeline_tag"] == "tabular-classification"
    (result,) = told["model-index"][0]["results"]
    record = trained.models.record("late@1")
    found = {one["type"]: one["value"] for one in result["metrics"]}
    assert found == {name: value["value"] for name, value in record["metrics"]["test"].items()}
    assert "# late, version 1" in body
    assert "Is it late? # no heading \\| no column" in body
    assert "<ann" not in body
    assert "`trip:loaded_km`" in body
    assert "| roc_auc |" in body


def test_a_card_of_a_version_with_little_in_its_record_is_written_too(stores):
    assert yaml.safe_load(model_card(read_record(stores, resolve(stores, "tiny"))).split("---\n")[1])
    assert msgspec.json.encode(model_card(read_record(stores, resolve(stores, "tiny"))))


def test_a_model_folder_of_mlflow_holds_the_graph_its_signature_and_the_record(trained, tmp_path):
    folder = trained.models.export_mlflow("late@1", tmp_path / "late")
    model = yaml.safe_load((folder / "MLmodel").read_text())
    assert model["flavors"]["python_function"]["loader_module"] == "carrara_exported"
    assert model["flavors"]["onnx"]["data"] == "model/model.onnx"
    inputs = json.loads(model["signature"]["inputs"])
    assert {"name": "depot_state:load", "type": "double", "required": True} in inputs
    assert {"name": "depot_state:open", "type": "boolean", "required": True} in inputs
    assert (folder / "model/model.onnx").read_bytes()[:1] == b"\x08"
    assert json.loads((folder / "carrara/record.json").read_text())["version"] == 1
    needed = (folder / "requirements.txt").read_text()
    assert "onnxruntime==" in needed
    assert "carrara" not in needed
    assert yaml.safe_load((folder / "conda.yaml").read_text())["dependencies"][2]["pip"][0] == "mlflow"
