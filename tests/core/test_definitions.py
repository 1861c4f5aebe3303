"""Definition files: what they declare, and errors that lead to the line at fault."""

from __future__ import annotations

import inspect
import re

import pytest

from carrara.core.definitions import load_definitions, load_recorded_definitions, spec_digest
from carrara.core.errors import DefinitionError, DuplicateDefinition, NotFoundError
from carrara.data.dataset import Dataset

ONE = 'import carrara\nflights = carrara.Dataset("flights", source="flights.csv")\n'


@pytest.fixture
def load(tmp_path):
    def loaded(**files: str):
        paths = [tmp_path / f"{name}.py" for name in files]
        for path, text in zip(paths, files.values(), strict=True):
            path.write_text(text)
        return load_definitions(paths)

    return loaded


def test_the_top_level_names_of_all_files_are_the_definitions(load):
    found = load(a=ONE, b=ONE.replace("flights", "planes") + "number = 5\n")
    assert sorted(found.objects) == [("dataset", "flights"), ("dataset", "planes")]
    assert found.source == {"a.py": ONE, "b.py": ONE.replace("flights", "planes") + "number = 5\n"}


def test_one_definition_under_two_variables_is_one(load):
    assert list(load(a=ONE + "again = flights\n").objects) == [("dataset", "flights")]


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("import no_such_module", 3, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", 3, "ZeroDivisionError: division by zero"),
        ("def f():\n    return missing\n\nf()", 4, "NameError: name 'missing' is not defined"),
    ],
)
def test_a_file_that_does_not_import_is_named_with_its_line(load, tmp_path, body, line, says):
    with pytest.raises(DefinitionError) as raised:
        load(broken="import carrara\n\n" + body + "\n")
    assert raised.value.message == f"{tmp_path / 'broken.py'} does not import: line {line}: {says}"
    assert raised.value.exit_code == 2
    assert isinstance(raised.value.__cause__, Exception)


def test_an_error_inside_a_library_is_reported_at_the_users_line(load, tmp_path):
    with pytest.raises(
        DefinitionError, match=re.escape(f"{tmp_path / 'd.py'} does not import: line 4: JSONDecodeError")
    ):
        load(d='import json\n\n\njson.loads("{")\n')


def test_a_syntax_error_is_named_with_file_and_line(load, tmp_path):
    with pytest.raises(DefinitionError) as raised:
        load(broken="import carrara\n\nx = (1,\ny = 2\n")
    assert raised.value.message.startswith(f"{tmp_path / 'broken.py'}, line 3: ")


def test_a_wrong_declaration_keeps_its_own_error_and_gets_the_file(load, tmp_path):
    with pytest.raises(NotFoundError, match="Did you mean 'int64'") as raised:
        load(d='import carrara\nx = carrara.Dataset("x", source="x.csv", types={"n": "int"})\n')
    assert raised.value.__notes__ == [f"in {tmp_path / 'd.py'}"]


@pytest.mark.parametrize(
    "files",
    [
        {"a": ONE, "b": ONE.replace("flights = ", "others = ")},
        {"a": ONE + 'others = carrara.Dataset("flights", source="other.csv")\n'},
    ],
    ids=["two files", "one file"],
)
def test_two_definitions_of_one_name_are_named_with_both_places(load, tmp_path, files):
    with pytest.raises(DuplicateDefinition) as raised:
        load(**files)
    second = tmp_path / f"{list(files)[-1]}.py"
    assert raised.value.places == (f"flights in {tmp_path / 'a.py'}", f"others in {second}")
    assert all(place in str(raised.value) for place in raised.value.places)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DefinitionError, match=re.escape(str(tmp_path / "none.py"))):
        load_definitions([tmp_path / "none.py"])


def test_recorded_source_runs_as_it_was_whatever_the_file_says_today(load, tmp_path):
    text = 'import carrara\nN = {n}\n\n\n@carrara.dataset(inputs=("a",))\ndef made(a):\n    return a * N\n'
    first = load(d=text.format(n=2))
    second = load(d=text.format(n=3))
    (tmp_path / "d.py").unlink()
    recorded = load_recorded_definitions(first.source, "late@1")
    made = recorded.get("dataset", "made", object)
    assert made(10) == 20
    assert spec_digest(made) == spec_digest(first.get("dataset", "made", object))
    assert spec_digest(made) != spec_digest(second.get("dataset", "made", object))
    assert "return a * N" in inspect.getsource(made.function)


def test_recorded_source_that_fails_names_the_version_it_came_with():
    with pytest.raises(DefinitionError, match=r"<late@1/d\.py> does not import: line 2: ZeroDivisionError"):
        load_recorded_definitions({"d.py": "\n1 / 0\n"}, "late@1")


def test_an_unknown_definition_names_the_nearest_and_who_asked(load):
    with pytest.raises(NotFoundError, match=r"'flihgts' \(asked by model 'late'\)\n  Did you mean 'flights'"):
        load(a=ONE).get("dataset", "flihgts", Dataset, where="model 'late'")


def test_specs_are_in_a_stable_order(load):
    planes = ONE.replace("flights", "planes")
    assert (
        list(load(a=planes, b=ONE).specs())
        == list(load(b=ONE, a=planes).specs())
        == ["dataset:flights", "dataset:planes"]
    )
