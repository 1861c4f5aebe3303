"""The command line: exit codes, JSON, and errors that a person can act on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from carrara.cli.main import app, asked
from commands import carrara


def test_help_lists_every_command():
    done = carrara("--help")
    assert done.returncode == 0
    for command in [
        "init",
        "plan",
        "apply",
        "dataset",
        "feature",
        "train",
        "model",
        "deploy",
        "serve",
        "predict",
        "monitor",
        "demo",
        "doctor",
        "version",
    ]:
        assert f"\n  {command}" in done.stdout


def test_help_imports_no_heavy_library():
    code = (
        "import sys; sys.argv = ['carrara', '--help']\n"
        "from carrara.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'numpy', 'sqlalchemy', 'alembic', 'onnxruntime', 'xgboost', 'deltalake', 'grpc'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_of_the_commands_only_the_one_that_is_asked_is_built():
    groups, commands = app.registered_groups, app.registered_commands
    assert [one.name for one in asked(["model", "list"]).registered_groups] == ["model"]
    assert [one.name for one in asked(["serve", "--json"]).registered_commands] == ["serve"]
    assert len(asked(["version"]).registered_commands) == 1
    assert asked([]) is asked(["--help"]) is asked(["--help", "serve"]) is asked(["sevre"]) is asked([""]) is app
    assert (app.registered_groups, app.registered_commands) == (groups, commands)


def test_importing_carrara_imports_nothing_else():
    code = "import sys, carrara; print(sorted(n for n in sys.modules if n in ('numpy', 'polars', 'typer')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_outside_of_a_workspace_the_error_says_how_to_make_one(tmp_path):
    done = carrara("plan", cwd=tmp_path)
    assert done.returncode == 2
    assert "carrara init" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_a_usage_error():
    assert carrara("trian").returncode == 2


def test_init_makes_a_workspace_that_plans_and_refuses_a_second(tmp_path):
    assert carrara("init", "ws", "--template", "flights", cwd=tmp_path).returncode == 0
    done = carrara("plan", "--json", "--workspace", "ws", cwd=tmp_path)
    added = json.loads(done.stdout)["changes"]
    assert {"dataset", "entity", "feature view", "on-demand view", "model", "monitor"} == {
        change["kind"] for change in added
    }
    assert carrara("init", "ws", cwd=tmp_path).returncode == 1


def test_an_unknown_key_of_the_configuration_names_the_nearest(tmp_path):
    carrara("init", "ws", cwd=tmp_path)
    (tmp_path / "ws/carrara.toml").write_text('[stores]\nmetdata = "sqlite:///x.db"\n')
    done = carrara("plan", cwd=tmp_path / "ws")
    assert done.returncode == 2
    assert "stores.metdata" in done.stderr
    assert "'metadata'" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("import nothing_like_this", 2, "line 1"),
        ("def broken(:", 2, "line 1"),
        ("import carrara\n\nx = 1 / 0", 2, "line 3: ZeroDivisionError"),
        (
            'import carrara\na = carrara.Dataset("a", source="a.csv")\nb = carrara.Dataset("a", source="b.csv")',
            2,
            "twice",
        ),
        ('import carrara\na = carrara.Dataset("a", source="a.csv", types={"x": "int46"})', 1, "int64"),
    ],
)
def test_definitions_that_do_not_load_give_one_error_with_the_place(tmp_path, text, code, says):
    carrara("init", "ws", cwd=tmp_path)
    (tmp_path / "ws/definitions.py").write_text(text)
    done = carrara("plan", cwd=tmp_path / "ws")
    assert done.returncode == code
    assert says in done.stderr
    assert "definitions.py" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in carrara("plan", "--traceback", cwd=tmp_path / "ws").stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train lat", "'late'"),
        ("model show lte@1", "'late'"),
        ("model show late@7", "versions 1"),
        ("model show late@champoin", "'champion'"),
        ("deploy late@9", "versions 1"),
        ("dataset show trip", "'trips'"),
        ("feature compute depot_stat", "'depot_state'"),
        ("monitor show late", "no prediction"),
        ("predict late -i missing.csv -o out.csv", "missing.csv"),
    ],
)
def test_a_wrong_name_ends_with_one_sentence_and_the_nearest_right_name(trained, command, says):
    done = carrara(*command.split(), cwd=trained.root)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "plan",
        "dataset list",
        "dataset versions trips",
        "dataset show trips",
        "dataset head trips",
        "dataset validate trips",
        "feature list",
        "model list",
        "model show late@1",
        "deploy late@1",
        "train late",
        "doctor",
    ],
)
def test_every_command_that_prints_data_prints_json_on_request(trained, command):
    done = carrara(*command.split(), "--json", cwd=trained.root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is not None
    plain = carrara(*command.split(), cwd=trained.root)
    assert plain.returncode == 0
    assert plain.stdout.strip()


def test_a_batch_prediction_equals_the_one_by_entity_keys(trained):
    rows = (
        "driver,depot,city,distance,event_time\nd1,p0,c0,80.0,2024-01-20T00:00:00Z\nd2,p1,c1,3.5,2024-01-20T00:00:00Z\n"
    )
    (trained.root / "in.csv").write_text(rows)
    done = carrara("predict", "late", "-i", "in.csv", "-o", "out.csv", cwd=trained.root)
    assert done.returncode == 0, done.stderr
    import polars as pl

    found = pl.read_csv(trained.root / "out.csv")
    expected = trained.predict("late", pl.read_csv(trained.root / "in.csv").to_dicts()).rows
    assert found["probability"].to_list() == pytest.approx(expected["probability"].to_list(), abs=1e-6)


def test_a_batch_file_without_a_zone_in_its_times_is_refused(trained):
    (trained.root / "in.csv").write_text("driver,depot,city,distance,event_time\nd1,p0,c0,80.0,2024-01-20T00:00:00\n")
    done = carrara("predict", "late", "-i", "in.csv", "-o", "out.csv", cwd=trained.root)
    assert done.returncode == 1
    assert "event_time" in done.stderr
    assert not (trained.root / "out.csv").exists()
