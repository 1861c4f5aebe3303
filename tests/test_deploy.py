"""What `deploy/` holds, as far as it can be tried without Docker and Kubernetes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.serving.servers import publish

DEPLOY = Path(__file__).parents[1] / "deploy"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def test_the_image_starts_serves_says_that_it_is_well_and_drains(tmp_path):
    """The entry point and the health check of the image, run as the image runs them, at ports of their own."""
    publish(tmp_path / "half", 1, 0.5)
    port = free_port()
    # `carrara` is where this Python is, on no path where the tests were started by its own.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MODEL_NAME": "half", "MODEL_BASE_PATH": str(tmp_path)}
    options = ["--host=127.0.0.1", "--port=0", f"--rest_api_port={port}"]
    started = subprocess.Popen(
        ["sh", str(DEPLOY / "serve.sh"), *options], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    check = (DEPLOY / "healthcheck.py").read_text().replace(":8501", f":{port}")

    def is_well() -> bool:
        return subprocess.run([sys.executable, "-c", check]).returncode == 0

    try:
        assert not is_well()
        until = time.monotonic() + 20
        while not is_well():
            assert started.poll() is None, started.stderr.read()
            assert time.monotonic() < until
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
        assert not is_well()
    finally:
        started.kill()
        started.communicate()


def test_the_image_copies_what_is_there_and_ends_as_nobody():
    text = (DEPLOY / "Dockerfile").read_text()
    for names in re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", text, re.MULTILINE):
        assert all((DEPLOY.parent / name).exists() for name in names.split()), names
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert os.access(DEPLOY / "serve.sh", os.X_OK)


@pytest.fixture(scope="module")
def pod() -> dict:
    deployment = next(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return deployment["spec"]["template"]["spec"]


def test_the_pod_is_asked_where_the_server_answers_and_has_the_time_to_drain(pod):
    from carrara.serving.guard import OPEN_PATHS
    from carrara.serving.server import GRACE_SECONDS

    (container,) = pod["containers"]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} == OPEN_PATHS
    assert {probe["port"] for probe in probes} == {"rest"}
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS + container["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_the_pod_takes_flags_that_there_are_and_writes_nothing_but_its_own_folder(pod):
    from carrara.cli.serving_flags import parse_flags

    (container,) = pod["containers"]
    assert parse_flags(container["args"]).values["model_config_file"] == "/models/models.config"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [one["name"] for one in container["volumeMounts"] if not one.get("readOnly")] == ["tmp"]
