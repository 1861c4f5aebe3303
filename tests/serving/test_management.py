"""Managing what a server serves over REST: models listed, loaded and unloaded, endpoints deployed, split, mirrored."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from doubling import Doubling

from carrara import Workspace
from carrara.core.errors import DataError
from carrara.metadata.access import Authenticator, create_token
from carrara.metadata.store import Metadata
from carrara.serving.contract import Endpoint, Target
from carrara.serving.guard import Guard
from carrara.serving.management import Management
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer

ROW = {"instances": [{"x": 1.0, "name": "a"}]}


def ask(port: int, path: str, data=None, **headers: str):
    """The status and the JSON of a GET, or of a POST with `data`."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{quote(path)}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until(ask_, wanted) -> None:
    deadline = time.monotonic() + 20
    while ask_() != wanted:
        assert time.monotonic() < deadline, f"it is still {ask_()!r}"
        time.sleep(0.01)


class House:
    """A server of three models, whose clock goes on when it is told to."""

    def __init__(self, management: Management, **options) -> None:
        self.wanted = [Endpoint(name, (Target(name, name, 1),)) for name in ("a", "b", "c")]
        self.opens: Callable[[], Doubling] = Doubling
        self.manager = ModelManager(lambda: self.wanted, lambda _: self.opens(), poll_seconds=0.02)
        self.server = ModelServer(self.manager, grpc_port=0, rest_port=0, management=management, **options)
        self.server.start()
        self.port = self.server.rest_port


@pytest.fixture
def house():
    made = House(Management(allowed=True))
    yield made
    made.server.stop(5)


def test_tritons_client_lists_unloads_and_loads_models(house):
    client = triton.InferenceServerClient(f"127.0.0.1:{house.port}")
    assert [(one["name"], one["version"], one["state"]) for one in client.get_model_repository_index()] == [
        ("a", "1", "READY"),
        ("b", "1", "READY"),
        ("c", "1", "READY"),
    ]
    client.unload_model("b")
    until(lambda: client.is_model_ready("b"), False)
    gone = client.get_model_repository_index()[1]
    assert (gone["name"], gone["state"], gone["reason"]) == ("b", "UNAVAILABLE", "unloaded")
    code, told = ask(house.port, "/v1/models/b:predict", ROW)
    assert code == 404
    assert "POST /v2/repository/models/b/load" in told["error"]
    # It answers when the model does.
    client.load_model("b")
    assert ask(house.port, "/v1/models/b:predict", ROW)[0] == 200
    with pytest.raises(triton.InferenceServerException, match="nobody"):
        client.load_model("nobody")
    with pytest.raises(triton.InferenceServerException, match="nobody"):
        client.unload_model("nobody")
    client.close()


@pytest.fixture
def over_grpc(house):
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{house.server.grpc_port}") as client:
        yield client


def test_tritons_client_of_grpc_lists_unloads_and_loads_models(house, over_grpc):
    def states() -> list[tuple[str, str, str]]:
        return [(one.name, one.version, one.state) for one in over_grpc.get_model_repository_index().models]

    assert states() == [("a", "1", "READY"), ("b", "1", "READY"), ("c", "1", "READY")]
    assert "model_repository" in over_grpc.get_server_metadata().extensions
    over_grpc.unload_model("b")
    until(lambda: states()[1], ("b", "1", "UNAVAILABLE"))
    assert over_grpc.get_model_repository_index().models[1].reason == "unloaded"
    over_grpc.load_model("b")
    assert over_grpc.is_model_ready("b")
    for call in (over_grpc.load_model, over_grpc.unload_model):
        with pytest.raises(triton_grpc.InferenceServerException, match="nobody") as raised:
            call("nobody")
        assert raised.value.status() == "StatusCode.NOT_FOUND"


def test_loading_over_grpc_holds_up_nobody_and_tells_why_a_version_does_not_load(house, over_grpc):
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(20)
        return Doubling()

    over_grpc.unload_model("b")
    until(lambda: house.manager.serves("b"), False)
    house.opens = slow
    with ThreadPoolExecutor(1) as client:
        loading = client.submit(over_grpc.load_model, "b")
        assert begun.wait(20)
        assert over_grpc.is_server_live()
        assert not loading.done()
        go_on.set()
        loading.result(20)
    assert house.manager.serves("b")

    def broken():
        raise DataError("its file is torn")

    over_grpc.unload_model("c")
    until(lambda: house.manager.serves("c"), False)
    house.opens = broken
    with pytest.raises(triton_grpc.InferenceServerException, match="its file is torn"):
        over_grpc.load_model("c")


def test_a_model_is_not_loaded_otherwise_than_it_is_deployed(house, over_grpc):
    with pytest.raises(triton_grpc.InferenceServerException, match="as it is deployed, and the request has 'config'"):
        over_grpc.load_model("a", config="{}")
    code, told = ask(house.port, "/v2/repository/models/a/load", {"parameters": {"config": "{}"}})
    assert (code, "'config'" in told["detail"]) == (400, True)


def test_what_was_unloaded_comes_back_when_it_is_deployed_anew(house):
    assert ask(house.port, "/v2/repository/models/a/unload", {})[0] == 200
    until(lambda: house.manager.serves("a"), False)
    house.wanted = [Endpoint("a", (Target("a", "a", 2),))]
    until(lambda: house.manager.serves("a"), True)


def test_nothing_is_changed_unless_the_server_was_started_for_it_nor_by_a_page_nor_in_one_of_several_processes():
    for management, headers, says in (
        (Management(), {}, "Start it with --manage"),
        (Management(allowed=True), {"Origin": "http://elsewhere"}, "not changed from a page"),
        (Management(allowed=True, shared=True), {}, "one of them would be changed"),
    ):
        made = House(management)
        for path in ("/v2/repository/models/a/unload", "/v2/repository/models/a/load"):
            code, told = ask(made.port, path, {}, **headers)
            assert (code, says in told["detail"]) == (403, True)
        assert ask(made.port, "/v2/repository/index", {})[0] == 200
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{made.server.grpc_port}") as client:
            # Over gRPC nobody is a page.
            for call in (client.unload_model, client.load_model) if not headers else ():
                with pytest.raises(triton_grpc.InferenceServerException, match=says) as raised:
                    call("a")
                assert raised.value.status() == "StatusCode.PERMISSION_DENIED"
            assert len(client.get_model_repository_index().models) == 3
        made.server.stop(5)


def test_where_tokens_are_asked_for_a_deployer_may_and_a_viewer_may_not(tmp_path):
    metadata = Metadata(f"sqlite:///{tmp_path}/m.db")
    tokens = {role: create_token(metadata, f"the {role}", role)[1] for role in ("viewer", "deployer")}
    guard = Guard(Authenticator(metadata, seconds=0))
    made = House(Management(allowed=True, guard=guard), guard=guard)
    path = "/v2/repository/models/a/unload"
    code, told = ask(made.port, path, {}, Authorization=f"Bearer {tokens['viewer']}")
    assert (code, "needs a deployer" in told["detail"]) == (403, True)
    assert ask(made.port, path, {}, Authorization=f"Bearer {tokens['deployer']}")[0] == 200
    assert ask(made.port, path, {})[0] == 401
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{made.server.grpc_port}") as client:
        refused = {"viewer": "PERMISSION_DENIED", "nobody": "UNAUTHENTICATED"}
        for role, code in refused.items():
            headers = {"authorization": f"Bearer {tokens.get(role, '')}"}
            with pytest.raises(triton_grpc.InferenceServerException) as raised:
                client.unload_model("b", headers=headers)
            assert raised.value.status() == f"StatusCode.{code}"
        client.unload_model("b", headers={"authorization": f"Bearer {tokens['deployer']}"})
        until(lambda: made.manager.serves("b"), False)
    made.server.stop(5)
    metadata.close()


@pytest.fixture(scope="module")
def port(_trained_folder, tmp_path_factory):
    """A workspace with late@1, and a server of it that nothing is loaded in: what is deployed is what counts here."""
    folder = tmp_path_factory.mktemp("management") / "ws"
    shutil.copytree(_trained_folder, folder)
    with Workspace(folder) as ws:
        manager = ModelManager(list, lambda _: Doubling())
        management = Management(allowed=True)
        server = ModelServer(manager, grpc_port=0, rest_port=0, management=management, endpoints=ws.endpoints)
        server.start()
        yield server.rest_port
        server.stop(5)


def test_an_endpoint_is_deployed_shown_and_ended(port):
    code, made = ask(port, "/v1/endpoints/late:deploy", {"model": "late@1"})
    assert (code, made["endpoint"], made["version"], made["role"]) == (200, "late", 1, "primary")
    assert [(one["endpoint"], one["version"]) for one in ask(port, "/v1/endpoints")[1]] == [("late", 1)]
    shown = ask(port, "/v1/endpoints/late")[1]
    assert [(one["version"], one["role"], one["share"]) for one in shown["serves"]] == [("late@1", "primary", 1)]
    assert [one["kind"] for one in shown["history"]] == ["deployed"]
    assert ask(port, "/v1/endpoints/late:end", {})[0] == 200
    assert ask(port, "/v1/endpoints")[1] == []
    assert ask(port, "/v1/endpoints/nothing")[0] == 404


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, 400, "it is not said what to deploy"),
        ({"model": "late@1", "shadow": True, "canary": 0.1}, 400, "in several ways"),
        ({"model": "late@1", "canry": 0.1}, 400, "has no 'canry'"),
        ({"model": "late@7"}, 404, "7"),
        ({"model": "late@1", "canary": "a lot"}, 400, "not a part of the traffic"),
        ({"model": "late", "split": {"1": 50}}, 400, "two versions or more"),
        ({"model": 3}, 400, "'model' is a text"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_the_reason(port, body, code, says):
    found, told = ask(port, "/v1/endpoints/late:deploy", body)
    assert (found, says in told["detail"]) == (code, True), told
