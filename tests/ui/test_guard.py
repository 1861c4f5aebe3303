"""Everything is refused but to whom a token belongs, on loopback too; a change comes from the page itself."""

from __future__ import annotations

import re

import pytest
from pages_served import Client, csrf_of
from starlette.routing import Route

from carrara.core.errors import ConfigurationError
from carrara.metadata.audit import list_entries
from carrara.ui.access import OPEN
from carrara.ui.app import routes_of
from carrara.ui.server import UiServer
from carrara.workspace.workspace import Workspace


def filled(path: str) -> str:
    """A route's path with something in each place of a name."""
    return re.sub(r"{\w+}", "late", path)


def test_every_route_is_refused_to_whoever_has_no_token_but_the_ways_to_sign_in(served):
    anonymous = Client(served)
    allowed = set()
    routes = served.application.routes
    assert all(isinstance(route, Route) for route in routes)
    assert len(routes_of(routes)) > 80
    for method, path in routes_of(routes):
        form = {} if method == "POST" else None
        answer = anonymous(filled(path), form, method=method)
        if answer.status != 401:
            allowed.add((method, path))
        else:
            assert "late" not in answer.text
    assert allowed == {("GET", "/sign-in")}  # POST is refused for its token, the style sheet by another name below
    assert {("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/static/carrara.css")} == OPEN
    assert anonymous("/static/carrara.css").status == 200
    assert anonymous("/static/carrara.js").status == 401


@pytest.mark.parametrize(
    "path", ["/static/carrara.css/", "/sign-in/../", "//sign-in", "/sign-in/x", "/SIGN-IN", "/live"]
)
def test_only_the_exact_names_are_open(served, path):
    assert Client(served)(path).status == 401


def test_a_token_that_is_wrong_revoked_or_of_another_scheme_is_refused(served, tokens):
    made, text = served.workspace.access.create_token("short-lived", "viewer")
    assert Client(served, text)("/index.json").status == 200
    assert Client(served, text + "x")("/index.json").status == 401
    assert Client(served)("/index.json", authorization=f"Basic {text}").status == 401
    served.workspace.access.revoke_token(made.id)
    served.application.authenticator._known.clear()  # Otherwise it takes two seconds.
    assert Client(served, text)("/index.json").status == 401


def test_a_name_of_the_server_that_is_not_its_own_is_refused(served, tokens):
    """DNS rebinding: a page of another site that has itself resolved to 127.0.0.1."""
    assert Client(served, tokens["admin"])("/index.json", host="evil.example").status == 421
    assert Client(served, tokens["admin"])("/index.json", host=f"localhost:{served.port}").status == 200


def test_every_answer_has_the_headers_that_keep_other_sites_out(served, viewer):
    for answer in (viewer.html("/"), viewer("/index.json"), Client(served).html("/"), viewer("/none.json")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_link_signs_in_once(served):
    browser, link = Client(served, cookies=True), served.sign_in_link().removeprefix(served.url)
    first = browser.html(link)
    assert (first.status, first.headers["location"]) == (303, "/")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert browser.html("/").status == 200
    other = Client(served, cookies=True)
    assert "used already" in other.html(link).text
    assert other.html("/").status == 401


def test_signing_in_by_a_form_and_out_again(served, tokens):
    browser = Client(served, cookies=True)
    assert browser("/sign-in", {"token": "carrara_no"}).status == 401
    assert browser("/sign-in", {"token": tokens["viewer"]}).status == 303
    page = browser.html("/runs")
    assert page.status == 200
    assert browser("/sign-out", {"csrf": "wrong"}, accept="text/html").status == 403
    assert browser("/sign-out", {"csrf": csrf_of(page.text)}, accept="text/html").status == 303
    assert browser.html("/runs").status == 401


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}]
)
def test_a_change_from_another_site_is_refused(served, tokens, headers):
    answer = Client(served, tokens["admin"])("/models/late/2/deploy", {"sure": "yes"}, **headers)
    assert answer.status == 403
    assert served.workspace.deployments()[0].version == 1


def test_a_browser_without_the_forms_token_changes_nothing(served, tokens):
    browser = Client(served, cookies=True)
    browser("/sign-in", {"token": tokens["admin"]})
    answer = browser("/models/late/2/deploy", {"sure": "yes", "csrf": "wrong"}, accept="text/html")
    assert answer.status == 403
    assert "session that has ended" in answer.text
    assert served.workspace.deployments()[0].version == 1


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("viewer", "/models/late/train"),
        ("viewer", "/datasets/trips/schema/accept"),
        ("viewer", "/runs/late/stop"),
        ("viewer", "/runs/late/resume"),
        ("viewer", "/models/late/silence"),
        ("editor", "/models/late/2/deploy"),
        ("editor", "/models/late/2/alias"),
        ("editor", "/endpoints/late/roll-back"),
        ("editor", "/models/late/2/canary"),
        ("editor", "/endpoints/late/shadow"),
        ("editor", "/endpoints/late/split"),
        ("editor", "/models/late/2/approve"),
        ("deployer", "/models/late/2/override"),
    ],
)
def test_an_action_needs_its_role(served, tokens, role, path):
    answer = Client(served, tokens[role])(path, {"sure": "yes", "alias": "champion"})
    assert answer.status == 403
    assert f"is {'an' if role == 'editor' else 'a'} {role}" in answer.json["error"]


def test_an_action_asks_once_and_is_written_down_with_who_did_it(own_page):
    _, text = own_page.workspace.access.create_token("ada", "deployer")
    browser = Client(own_page, cookies=True)
    browser("/sign-in", {"token": text})
    csrf = csrf_of(browser.html("/models/late/2").text)
    asked = browser("/models/late/2/deploy", {"csrf": csrf, "endpoint": "late"}, accept="text/html")
    assert "Let the endpoint late serve late@2 from now on?" in asked.text
    assert own_page.workspace.deployments()[0].version == 1
    done = browser("/models/late/2/deploy", {"csrf": csrf, "endpoint": "late", "sure": "yes"}, accept="text/html")
    assert (done.status, done.headers["location"]) == (303, "/endpoints/late")
    (now,) = own_page.workspace.deployments()
    assert (now.version, now.deployed_by) == (2, "ada")
    browser("/endpoints/late/roll-back", {"csrf": csrf, "sure": "yes"}, accept="text/html")
    assert own_page.workspace.deployments()[0].version == 1
    browser("/models/late/2/alias", {"csrf": csrf, "sure": "yes", "alias": "challenger"}, accept="text/html")
    assert own_page.workspace.models.aliases("late")["challenger"] == 2
    told = [(e.who, e.action, e.object) for e in list_entries(own_page.workspace.stores.metadata, who="ada")]
    assert told[0] == ("ada", "move alias", "model:late@2")
    assert {("ada", "deploy", "endpoint:late"), ("ada", "roll back", "endpoint:late")} <= set(told)


def test_a_canary_a_decision_and_a_silence_are_asked_for_made_and_written_down(own_page):
    _, text = own_page.workspace.access.create_token("ada", "deployer")
    ada = Client(own_page, text)
    assert (
        "Give late@2 10 % of the traffic for 30m"
        in ada("/models/late/2/canary", {"share": "10"}, accept="text/html").text
    )
    assert ada("/models/late/2/canary", {"share": "ten", "sure": "yes"}).status == 400
    assert ada("/models/late/2/canary", {"share": "10", "sure": "yes"}).json["canary"]["share"] == 0.1
    served = {one["role"]: one for one in ada("/endpoints/late.json").json["served"]}
    assert (served["canary"]["version"], served["primary"]["share"]) == ("late@2", 0.9)
    assert "End what is tried" in ada.html("/endpoints/late").text
    assert ada("/endpoints/late/roll-back", {"sure": "yes"}).status == 200
    assert ada("/models/late/2/approve", {"sure": "yes"}).status == 400
    assert ada("/models/late/2/approve", {"sure": "yes", "reason": "better on far trips"}).status == 200
    assert "better on far trips" in ada.html("/models/late/2").text
    assert ada("/models/late/silence", {"sure": "yes", "for": "2h", "reason": "known"}).status == 200
    assert "is silenced until" in ada.html("/monitoring/late/1").text
    deeds = {e.action for e in list_entries(own_page.workspace.stores.metadata, who="ada")}
    assert {"canary", "roll back", "approved", "silence"} <= deeds


def test_a_shadow_and_a_split_are_asked_for_made_and_written_down(own_page):
    _, text = own_page.workspace.access.create_token("ada", "deployer")
    ada = Client(own_page, text)
    assert "Split the traffic" in ada.html("/endpoints/late").text
    asked = ada("/endpoints/late/shadow", {"version": "2"}, accept="text/html").text
    assert "Ask version 2 what late is asked?" in asked
    assert ada("/endpoints/late/shadow", {"version": "9", "sure": "yes"}).status == 404
    assert ada("/endpoints/late/shadow", {"version": "2", "sure": "yes"}).json["shadow"]["role"] == "shadow"
    assert ada("/endpoints/late/roll-back", {"sure": "yes"}).status == 200
    for wrong in ("", "1", "1=50", "1=50,2=nan", "1=50,2=-1"):
        assert ada("/endpoints/late/split", {"shares": wrong, "sure": "yes"}).status == 400
    assert ada("/endpoints/none/split", {"shares": "1=50,2=50", "sure": "yes"}).status == 404
    assert ada("/endpoints/late/split", {"shares": "1=1,2=3", "sure": "yes"}).status == 200
    shares = {one["version"]: one["share"] for one in ada("/endpoints/late.json").json["served"]}
    assert shares == {"late@1": 0.25, "late@2": 0.75}
    deeds = {e.action for e in list_entries(own_page.workspace.stores.metadata, who="ada")}
    assert {"shadow", "split", "roll back"} <= deeds


def test_it_is_not_served_beyond_this_machine_unless_somebody_insists(fresh: Workspace):
    with pytest.raises(ConfigurationError, match="tokens would travel unencrypted"):
        UiServer(fresh, host="0.0.0.0")
