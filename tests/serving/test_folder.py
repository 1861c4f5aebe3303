"""A folder of numbered versions, served with no workspace: the newest one, and no request lost while it changes."""

from __future__ import annotations

import subprocess
import sys

from servers import publish, served


def test_versions_of_a_folder_swap_under_a_client_that_never_fails(tmp_path):
    base = tmp_path / "model"
    publish(base, 1)
    with served("--model_name=times", f"--model_base_path={base}", cwd=tmp_path) as server:
        seen = [1]
        for version in (2, 3, 4):
            (base / f"{version * 10}").write_text("a file is no version")
            publish(base, version)
            while seen[-1] != version:
                status, found = server.ask("/v1/models/times:predict", {"instances": [{"x": 1.0}, {"x": 2.0}]})
                assert status == 200
                one, two = found["predictions"]
                assert two == 2 * one
                seen.append(int(one))
        assert seen == sorted(seen)


def test_a_server_of_folders_imports_no_workspace():
    code = "import sys, carrara.serving.run; print({'polars', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
