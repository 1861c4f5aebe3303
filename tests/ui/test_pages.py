"""Every page answers, as HTML and as its JSON twin, whatever names hold; what is wrong in an address is said."""

from __future__ import annotations

import html
import re
import threading
from collections import Counter
from datetime import timedelta
from urllib.parse import quote

import polars as pl
import pytest
from pages_served import HARM, LONG, Client, ask_a_server

from carrara.core.errors import StorageError
from carrara.core.figures import words
from carrara.core.palette import DARK, LIGHT
from carrara.metadata.audit import list_entries
from carrara.metadata.intervals import Claim, claim, finish
from carrara.metadata.monitor_windows import delete_windows, list_windows
from carrara.ui.pages import PAGES
from carrara.workspace.workspace import Workspace


def links_of(text: str) -> list[str]:
    found = re.findall(r'(?:href|data-chart|data-load)="([^"]+)"', text)
    return [html.unescape(link) for link in found]


_PARTS = {part for page in PAGES for part in page.path.split("/")} | {"charts", "report"}


def _absent(path: str) -> bool:
    """The datasets of odd names have a record and no rows that could be held against a schema."""
    return path.endswith("/schema/proposal") and not path.startswith("/datasets/trips/")


def walked(client: Client, start: str, of_a_kind: int) -> dict[str, int]:
    """The pages that can be reached by links, so many of each kind, and their status."""
    seen: dict[str, int] = {}
    kinds = Counter[tuple[str, ...]]()
    waiting, known = [start], {start}
    while waiting:
        path = waiting.pop(0)
        answer = client.html(path)
        seen[path] = answer.status
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        for link in links_of(answer.text):
            whole = path.partition("?")[0] + link if link.startswith("?") else link
            if whole.startswith("/") and whole not in known and not _absent(whole):
                known.add(whole)
                kinds[kind_of(whole)] += 1
                if kinds[kind_of(whole)] <= of_a_kind:
                    waiting.append(whole)
    return seen


def kind_of(path: str) -> tuple[str, ...]:
    """What pages that one function draws have in common: their parts without names, and the filters that they have."""
    parts, _, query = path.partition("?")
    first, *others = parts.strip("/").split("/")
    known = [part for part in others if part in _PARTS]
    return (first, str(len(others)), *known, *sorted(re.findall(r"(\w+)=", query)))


def test_every_link_leads_somewhere(viewer):
    """Among them are a dataset whose name is markup, a slash, an emoji and ends in .json, and one of 4 KB."""
    seen = walked(viewer, "/", 5)
    assert {path: status for path, status in seen.items() if status != 200} == {}
    assert len(seen) > 60
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
        path = path.replace("/datasets/late", "/datasets/trips")
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


def test_the_trees_answer_a_row_that_somebody_thinks_of(viewer):
    """N18: its way through the tree that is looked at, and what each tree adds, from tree to tree."""
    path = "/models/late/1/trees"
    plain = viewer(f"{path}.json").json
    assert plain["path"] is None
    asked = "?tree=1&value.trip:loaded_km=80.5&value.depot_state:load="
    found = viewer(f"{path}.json{asked}").json
    assert (found["features"]["trip:loaded_km"], found["features"]["depot_state:load"]) == (80.5, None)
    assert len(found["path"]["contributions"]) == found["tree"]["trees"]
    page = viewer.html(path + asked).text
    assert page.count('class="leaf way"') == 1
    assert page.count(' way"') >= len(found["path"]["nodes"])
    assert "value.trip%3Aloaded_km=80.5" in page  # other trees are asked the same
    assert viewer(f"{path}.json?value.trip:loaded=1").status == 404


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


def test_two_versions_are_asked_the_same_rows(viewer):
    assert viewer("/models/late/compare.json?a=1&b=2").json["same"] is None
    address = "/models/late/compare{}?a=1&b=2&slice=city&where=" + quote("distance > 60")
    same = viewer(address.format(".json")).json["same"]
    assert {one["column"] for one in same["slices"]} >= {"city", "distance > 60"}
    assert same["metrics"]["roc_auc"]["rows"] == same["rows"]
    assert len(same["segments"][0]["losses"]) == 2
    page = viewer.html(address.format("")).text
    assert "Segments, by log loss" in page
    assert "distance &gt; 60 = true" in page
    told = viewer("/models/late/compare.json?a=1&b=2&where=" + quote("distence > 60")).json
    assert told["same"] is None
    assert "Did you mean 'distance'?" in told["why_not"]


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


def test_the_traffic_of_an_endpoint_is_told_by_version_arm_and_time(own_page):
    own_page.workspace.endpoints.canary("late@2", share=0.3, lasts="30m")
    ask_a_server(own_page.workspace, 40)
    client = Client(own_page, own_page.workspace.access.create_token("ada", "viewer")[1])
    found = client("/endpoints/late.json?since=1h").json
    seen = {}
    for one in found["traffic"]:
        seen[one["version"], one["arm"]] = seen.get((one["version"], one["arm"]), 0) + one["requests"]
    assert sum(seen.values()) == 40
    assert seen.keys() == {("late@1", "primary"), ("late@2", "canary")}
    assert all(one["p95_ms"] >= one["p50_ms"] > 0 for one in found["traffic"] if one["requests"])
    assert found["since"] == "1h"
    assert client("/endpoints/late.json?since=9y").json["since"] == "1d"
    assert client.html("/endpoints/late?since=7d").text.count("<polyline") == 4


def test_what_is_monitored_is_shown_without_reading_the_log(own_page):
    """However long the log is, a view costs nothing of it: here it is not even there."""
    log = own_page.workspace.root / ".carrara" / "lake" / "predictions" / "late"
    log.rename(log.with_name("away"))
    client = Client(own_page, own_page.workspace.access.create_token("ada", "viewer")[1])
    (listed,) = client("/monitoring.json").json["versions"]
    assert (listed["model"], listed["version"], listed["predictions"]) == ("late", 1, 60)
    shown = client("/monitoring/late/1.json").json
    assert shown["predictions"] == 60
    assert shown["windows"][-1]["health"] in ("ok", "alert", "unknown")
    assert shown["newest"] == []
    assert client.html("/monitoring/late/1").status == 200


def test_before_an_outcome_is_known_the_page_says_what_the_metrics_probably_are(own_page):
    workspace = own_page.workspace
    client = Client(own_page, workspace.access.create_token("ada", "viewer")[1])
    windows = [one.key for one in list_windows(workspace.stores.metadata, "late", 1)]
    delete_windows(workspace.stores.metadata, "late", 1, windows)
    with Workspace(workspace.root, clock=lambda: windows[0].start - timedelta(days=1)) as before:
        before.monitoring.measure("late@1")
    shown = client("/monitoring/late/1.json").json
    assert (shown["outcomes"], shown["metrics"]) == (0, None)
    page = client.html("/monitoring/late/1").text
    assert "No outcome is known yet. By its answers alone" in page
    table = page.split('aria-label="Quality, estimated"')[1].split("</table>")[0]
    estimated = next(one["estimated"] for one in reversed(shown["windows"]) if one.get("estimated"))
    assert table.count("<tr>") == 1 + len(estimated)
    assert all(words(name) in table for name in estimated)


def test_a_version_that_nobody_asked_says_what_to_run(viewer):
    shown = viewer("/monitoring/late/2.json").json
    assert (shown["predictions"], shown["windows"], shown["newest"]) == (0, [], [])
    assert "carrara monitor run late" in viewer.html("/monitoring/late/2").text


def test_rows_that_were_set_aside_a_diff_of_rows_and_a_schema_that_is_accepted(own_page):
    workspace = own_page.workspace
    rows = pl.DataFrame({"id": [1, 2, 3], "size": [1.0, 2.0, 3.0]})
    workspace.datasets.ingest_from("parts", rows, key=["id"])
    path = workspace.datasets.infer_schema("parts")
    bounds = '[columns.size]\nmax = 10.0\nseverity = {"out of range" = "quarantine"}'
    path.write_text(path.read_text().replace("[columns.size]", bounds))
    changed = pl.DataFrame({"id": [2, 3, 4, 5], "size": [2.0, 9.0, 4.0, 99.0]})
    workspace.datasets.ingest_from("parts", changed, key=["id"])
    client = Client(own_page, workspace.access.create_token("ada", "editor")[1])

    shown = client("/datasets/parts.json").json
    assert [row["id"] for row in shown["set_aside"]] == [5]
    assert "out of range" in shown["set_aside"][0]["_anomalies"]
    assert "Set aside" in client.html("/datasets/parts").text

    assert client("/datasets/parts/diff.json").json["row_diff"] is None
    found = client("/datasets/parts/diff.json?key=id").json["row_diff"]
    assert (found["added"], found["removed"], found["changed"], found["same"]) == (1, 1, 1, 1)
    assert found["samples"] == [{"key": {"id": 3}, "changed": {"size": [3.0, 9.0]}}]
    assert client("/datasets/parts/diff.json?key=none").status == 400

    path.write_text(path.read_text().replace("max = 10.0", "max = 5.0"))
    proposed = client("/datasets/parts/schema/proposal.json").json["diff"]
    assert "-max = 5.0" in proposed
    assert "max = 5.0" in client("/datasets/parts/schema.json").json["schema"]
    assert client("/datasets/parts/schema/accept", {"sure": "yes"}).status == 200
    assert "max = 5.0" not in path.read_text()
    assert client("/datasets/parts/schema/proposal.json").json["diff"] == ""
    assert list_entries(workspace.stores.metadata, action="accept schema")[0].object == "dataset:parts"


def test_a_chart_is_in_the_colours_of_the_theme(viewer):
    chart = "/models/late/1/charts/roc_curve"
    light, dark = (viewer(f"{chart}.svg?theme={theme}").text for theme in ("light", "dark"))
    assert LIGHT["accent"] in light
    assert DARK["accent"] in dark
    assert "#ffffff" not in dark
    assert viewer(f"{chart}.vega?theme=dark").json["config"]["background"] == DARK["page"]
    assert viewer(f"{chart}.svg").text == light
    assert viewer(f"{chart}.svg?theme=pink").status == 404
    assert f'srcset="{chart}.svg?theme=dark"' in viewer.html("/models/late/1").text


def test_schedules_say_what_ran_what_will_and_what_failed(own_page):
    workspace = own_page.workspace
    definitions = workspace.root / "definitions.py"
    text = definitions.read_text()
    scheduled = text.replace('"driver_trips",\n', '"driver_trips",\n    schedule="@daily",\n', 1)
    definitions.write_text(scheduled)
    client = Client(own_page, workspace.access.create_token("ada", "viewer")[1])
    before, watched = client("/schedules.json").json["schedules"]
    assert (watched["kind"], watched["name"], watched["health"]) == ("monitor", "late", "unknown")
    assert 'href="/monitoring?q=late"' in client.html("/schedules").text
    assert (before["name"], before["state"], before["due"], before["last"]) == ("driver_trips", "due", 1, [])
    assert before["health"] == "unknown"

    workspace.forget_definitions()
    workspace.run_due()
    found = client("/schedules.json").json
    ran, monitored = found["schedules"]
    assert [one["state"] for one in (*ran["last"], *monitored["last"])] == ["complete", "complete"]
    assert {one["name"] for one in found["coming"]} == {"late", "driver_trips"}
    assert all(one["at"] > ran["last"][0]["until"] for one in found["coming"])

    assert ran["health"] == "ok"
    moment = workspace.clock() + timedelta(days=1)
    tomorrow = Claim("feature view", "driver_trips", (moment,), "somebody")
    assert claim(workspace.stores.metadata, tomorrow, moment, timedelta(hours=1))
    finish(workspace.stores.metadata, tomorrow, moment, error="the source is away")
    shown = client.html("/schedules").text
    assert "the source is away" in shown
    assert 'class="failed"' in shown


def test_prometheus_is_told_how_long_the_pages_took(viewer):
    assert viewer("/schedules.json").status == 200
    assert viewer("/models/nobody.json").status == 404
    told = viewer("/metrics").text
    assert 'carrara_ui_request_seconds_count{page="/schedules.json",status="200"}' in told
    assert re.search(r'carrara_ui_request_seconds_count{page="/models/{\w+}.json",status="404"}', told)
    assert "process_resident_memory_bytes" in told


def test_what_is_looked_up_for_the_first_visitor_ends_in_peace_with_the_workspace(trained, monkeypatch):
    from carrara.ui.pages import freshness
    from carrara.ui.server import UiServer

    find, online = freshness.stored_views, trained.stores.online

    def closed_meanwhile(*asked):
        trained.close()
        return find(*asked)

    monkeypatch.setattr(freshness, "stored_views", closed_meanwhile)
    UiServer(trained)._warm()
    with pytest.raises(StorageError, match="closed"):
        online.read("any", [b"key"])


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
