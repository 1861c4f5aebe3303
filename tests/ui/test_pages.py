"""Every page answers, as HTML and as its JSON twin, whatever names hold; what is wrong in an address is said."""

from __future__ import annotations

import html
import re
import threading
from urllib.parse import quote

import pytest
from pages_served import HARM, LONG, Client

from carrara.ui.pages import PAGES
from carrara.workspace import Workspace


def links_of(text: str) -> list[str]:
    found = re.findall(r'(?:href|data-chart|data-load)="([^"]+)"', text)
    return [html.unescape(link) for link in found]


def walked(client: Client, start: str, most: int) -> dict[str, int]:
    """Every page that can be reached by links, and its status."""
    seen: dict[str, int] = {}
    waiting = [start]
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        answer = client.html(path)
        seen[path] = answer.status
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        for link in links_of(answer.text):
            whole = path.partition("?")[0] + link if link.startswith("?") else link
            if whole.startswith("/") and whole not in seen and whole not in waiting:
                waiting.append(whole)
    return seen


def test_every_link_leads_somewhere(viewer):
    """Among them are a dataset whose name is markup, a slash, an emoji and ends in .json, and one of 4 KB."""
    seen = walked(viewer, "/", 400)
    assert {path: status for path, status in seen.items() if status != 200} == {}
    assert len(seen) > 150
    assert any(quote(HARM[:20], safe="") in path for path in seen)


def test_every_page_has_a_twin_in_json(viewer, served):
    prediction = served.workspace.predictions("late")["prediction_id"][0]
    run = served.workspace.runs("train")[0].id
    names = {
        "name": "late",
        "version": "1",
        "run": run,
        "feature": "driver_trips:delay_mean_6h",
        "prediction": prediction,
    }
    queries = {"/runs/compare": "?run=" + "&run=".join(r.id for r in served.workspace.runs()[:2])}
    for page in PAGES:
        path = page.path.format(**{**names, "name": LONG if "/diff" in page.path else names["name"]})
        path = path.replace("/datasets/late", "/datasets/trips") if "/diff" not in page.path else path
        answer = viewer(("/index" if path == "/" else path) + ".json" + queries.get(path, ""))
        assert (page.path, answer.status) == (page.path, 200)
        assert isinstance(answer.json, dict)


@pytest.mark.parametrize("name", [HARM, LONG])
def test_a_name_is_shown_as_it_is_and_does_nothing(viewer, name):
    path = "/datasets/" + quote(name, safe="").replace(".json", "%2Ejson")
    answer = viewer.html(path)
    assert answer.status == 200
    assert "<img src=x" not in answer.text
    assert "<script>0" not in answer.text
    assert viewer(path + ".json").json["name"] == name


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/models/latte", 404, "Did you mean 'late'?"),
        ("/models/late/9", 404, "versions 1, 2"),
        ("/models/late/1/charts/roc_curv.svg", 404, "Did you mean 'roc_curve'?"),
        ("/features/driver_trips:delay_mean_6", 404, "Did you mean"),
        ("/datasets/trips/x", 400, "'x' is not a number"),
        ("/runs?page=1e9", 400, "is not a number"),
        ("/runs/compare", 400, "two or more"),
        ("/endpoints/<b>", 404, "there is no endpoint '<b>'"),
        ("/nowhere", 404, "there is no page '/nowhere'"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(viewer, path, status, said):
    answer = viewer(quote(path, safe="/:?=&"))
    assert answer.status == status
    assert said in answer.json["error"] + " " + answer.json["hint"]
    shown = viewer.html(quote(path, safe="/:?=&"))
    assert shown.status == status
    assert "<b>'" not in shown.text


def test_features_are_found_by_words_and_facets(viewer):
    found = viewer("/features.json?q=delay").json
    assert found["features"][0]["feature"].startswith("driver_trips:delay")
    assert viewer("/features.json?q=delay&entity=depot").json["features"] == []
    assert viewer("/features.json?entity=depot").json["total"] == 2
    page = viewer.html("/features?entity=depot&q=load").text
    assert 'href="/features?entity=depot&amp;q=load&amp;type=float64"' in page


def test_a_feature_shows_how_it_moved_over_time(viewer):
    periods = viewer("/features/depot_state:load/over-time.json").json["periods"]
    assert len(periods) == 24
    assert all(one["low"] <= one["middle"] <= one["high"] for one in periods)
    assert "<polyline" in viewer.html("/features/depot_state:load/over-time").text
    assert len(viewer("/features/driver_trips:delay_mean_6h/over-time.json").json["periods"]) > 10


def test_two_versions_are_compared(viewer):
    found = viewer("/models/late/compare.json?a=1&b=2").json
    assert {row["metric"] for row in found["metrics"]} >= {"roc_auc", "log_loss"}
    assert any("depth" in row["field"] for row in found["differences"])


def test_one_prediction_is_explained(viewer, served):
    row = served.workspace.predictions("late").row(0, named=True)
    found = viewer(f"/monitoring/late/1/predictions/{row['prediction_id']}.json").json["explained"]
    assert found["answer"]["probability"] == pytest.approx(row["probability"])
    assert found["request"]["driver"] == row["driver"]
    assert len([one for one in found["features"] if one["contribution"]]) > 3
    other = viewer(f"/monitoring/late/2/predictions/{row['prediction_id']}.json")
    assert (other.status, "It was made by late@1" in other.json["hint"]) == (404, True)


def test_the_library_of_charts_is_made_before_somebody_asks(own_page):
    kept = own_page.workspace.root / ".carrara" / "ui"
    for thread in threading.enumerate():
        if thread.name == "ui_make_charts":
            thread.join(60)
    assert b"vegaEmbed" in next(kept.glob("vega-*.js")).read_bytes()


def test_what_the_windows_of_a_version_say(viewer):
    found = viewer("/monitoring/late/1.json").json
    assert found["predictions"] == 60
    assert found["windows"][-1]["predictions"] > 0
    assert {"roc_auc", "log_loss"} <= found["evaluation"].keys()


def test_the_stream_of_a_page_tells_at_once_and_ends_with_its_token(served):
    import http.client

    made, text = served.workspace.access.create_token("watcher", "viewer")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("GET", "/runs.events", headers={"authorization": f"Bearer {text}"})
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.readline().startswith(b"data: ")
    served.workspace.access.revoke_token(made.id)
    served.application.authenticator._known.clear()
    assert not any(line.startswith(b"data: ") for line in answer)
    connection.close()


def test_an_empty_workspace_says_what_to_run(tmp_path):
    from carrara.ui.server import UiServer

    (tmp_path / "carrara.toml").write_text("")
    (tmp_path / "definitions.py").write_text("")
    with Workspace(tmp_path) as workspace:
        server = UiServer(workspace)
        server.start()
        client = Client(server, workspace.access.create_token("ada", "viewer")[1])
        expected = {
            "/": "carrara feature materialise",
            "/datasets": "carrara dataset ingest",
            "/features": "carrara feature list",
            "/runs": "carrara train MODEL",
            "/models": "carrara train MODEL",
            "/endpoints": "carrara deploy MODEL@VERSION",
            "/monitoring": "carrara serve",
            "/lineage": "carrara train MODEL",
            "/schedules": "carrara scheduler",
        }
        for path, command in expected.items():
            answer = client.html(path)
            assert (path, answer.status) == (path, 200)
            assert command in html.unescape(answer.text)
        server.stop()


def test_definitions_that_do_not_load_leave_the_other_pages(tmp_path):
    from carrara.ui.server import UiServer

    (tmp_path / "carrara.toml").write_text("")
    (tmp_path / "definitions.py").write_text("import carrara\n1 / 0\n")
    with Workspace(tmp_path) as workspace:
        server = UiServer(workspace)
        server.start()
        client = Client(server, workspace.access.create_token("ada", "viewer")[1])
        assert "ZeroDivisionError" in client.html("/").text
        assert client("/features.json").status == 400
        assert client("/models.json").status == 200
        (tmp_path / "definitions.py").write_text("# mended\n")
        assert client("/features.json").status == 200
        server.stop()
