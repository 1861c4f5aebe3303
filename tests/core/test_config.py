"""`carrara.toml`: every key is optional, and a wrong one is named with the file and the nearest right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrara.core.config import find_root, read_configuration
from carrara.core.errors import ConfigurationError


@pytest.fixture
def read(tmp_path):
    def made(text: str):
        (tmp_path / "carrara.toml").write_text(text)
        return read_configuration(tmp_path)

    return made


def test_an_empty_file_is_the_laptop(read, tmp_path):
    found = read("")
    assert found.name == tmp_path.name
    assert found.definition_files == [tmp_path / "definitions.py"]
    assert vars(found.stores) == {
        "metadata": "sqlite:///.carrara/metadata.db",
        "lake": ".carrara/lake",
        "artifacts": ".carrara/artifacts",
        "online": "lmdb:.carrara/online",
    }
    assert vars(found.serving) == {
        "host": "127.0.0.1",
        "grpc_port": 8500,
        "rest_port": 8501,
        "max_message": "",
        "tokens": False,
        "tls_certificate": "",
        "tls_key": "",
        "access_log": "",
        "limits": {},
    }


def test_what_is_written_replaces_the_default_and_nothing_else(read, tmp_path):
    found = read('[workspace]\nname = "w"\ndefinitions = ["a.py", "b/c.py"]\n[serving]\ngrpc_port = 9000\n')
    assert found.name == "w"
    assert found.definition_files == [tmp_path / "a.py", tmp_path / "b/c.py"]
    assert (found.serving.grpc_port, found.serving.rest_port) == (9000, 8501)


def test_true_and_false_are_taken_from_the_file_and_from_the_environment(read, monkeypatch):
    assert read("[serving]\ntokens = true\n").serving.tokens is True
    monkeypatch.setenv("CARRARA_SERVING__TOKENS", "false")
    assert read("[serving]\ntokens = true\n").serving.tokens is False
    monkeypatch.setenv("CARRARA_SERVING__TOKENS", "perhaps")
    with pytest.raises(ConfigurationError, match="must be true or false"):
        read("")


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ('[stores]\nlak = "x"', "stores.lak", "Did you mean 'lake'?"),
        ('[store]\nlake = "x"', "store", "Did you mean 'stores'?"),
        ("[engine]\nzzz = 1", "engine.zzz", "Known keys here: features, training."),
    ],
)
def test_an_unknown_key_is_named_with_its_file_and_the_nearest_one(read, tmp_path, text, key, hint):
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert raised.value.message == f"{tmp_path / 'carrara.toml'} has the unknown key '{key}'"
    assert raised.value.hint == hint
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[serving]\ngrpc_port = "many"', "'serving.grpc_port' of .* must be a whole number, and 'many' was written"),
        ("[serving]\ngrpc_port = true", "must be a whole number, and True was written"),
        ("[serving]\ngrpc_port = 1.5", "must be a whole number, and 1.5 was written"),
        ("[stores]\nlake = 5", "'stores.lake' of .* must be a string, and 5 was written"),
        ('[workspace]\ndefinitions = "a.py"', "must be a list of strings, and 'a.py' was written"),
        ("[workspace]\ndefinitions = [1]", "must be a list of strings"),
        ("stores = 5", r"\[stores\] of .* is a section, and 5 was written"),
        ("stores = ", "carrara.toml is not valid TOML"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(read, text, says):
    with pytest.raises(ConfigurationError, match=says):
        read(text)


def test_the_environment_overrides_the_file(read, monkeypatch):
    monkeypatch.setenv("CARRARA_STORES__LAKE", "elsewhere")
    monkeypatch.setenv("CARRARA_SERVING__GRPC_PORT", "9001")
    found = read('[stores]\nlake = "here"\nartifacts = "kept"\n')
    assert (found.stores.lake, found.stores.artifacts, found.serving.grpc_port) == ("elsewhere", "kept", 9001)


@pytest.mark.parametrize(
    ("variable", "says"),
    [("CARRARA_STORES__LAK", "'stores.lak'\n  Did you mean 'lake'"), ("CARRARA_SERVING__GRPC_PORT", "whole number")],
)
def test_the_environment_is_checked_as_the_file_is(read, monkeypatch, variable, says):
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError, match=says):
        read("")


def test_variables_without_a_section_are_somebody_elses(read, monkeypatch):
    monkeypatch.setenv("CARRARA_USER", "ada")
    monkeypatch.setenv("OTHER_STORES__LAKE", "x")
    assert read("").stores.lake == ".carrara/lake"


def test_the_nearest_folder_above_is_the_workspace(tmp_path):
    (tmp_path / "carrara.toml").write_text("")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_root(inner) == tmp_path.resolve()
    (tmp_path / "a" / "carrara.toml").write_text("")
    assert find_root(inner) == (tmp_path / "a").resolve()


@pytest.mark.parametrize("look", [find_root, read_configuration])
def test_a_folder_without_a_workspace_is_told_how_to_make_one(tmp_path, look):
    if any((folder / "carrara.toml").exists() for folder in Path(tmp_path).resolve().parents):
        pytest.fail("a carrara.toml lies above the temporary folder")
    with pytest.raises(ConfigurationError, match="carrara init"):
        look(tmp_path)
