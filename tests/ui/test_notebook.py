"""What objects show in a notebook: asked as IPython asks, and looked at in a real browser in both themes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from IPython.core.formatters import DisplayFormatter
from pages_served import HARM

from carrara.core.palette import DARK, LIGHT
from carrara.metadata.runs import list_runs
from carrara.ui.server import UiServer
from carrara.workspace.workspace import Workspace

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"


def asked(ws: Workspace) -> dict[str, Any]:
    return {**ws.predictions("late").select("driver", "depot", "city", "distance").row(0, named=True)}


OBJECTS: dict[str, tuple[Callable[[Workspace], Any], str]] = {
    "workspace": (lambda ws: ws, "late@2"),
    "dataset": (lambda ws: ws.datasets.get("trips"), "distribution"),
    "dataset of harmful names": (lambda ws: ws.datasets.get("odd"), "3"),
    "statistics": (lambda ws: ws.datasets.statistics("trips"), "<rect"),
    "feature table": (lambda ws: ws.features.tables()[0], "distribution"),
    "feature": (lambda ws: ws.features.show("depot_state:load"), "late@2"),
    "feature values": (
        lambda ws: ws.features.get(["depot_state:load"], [{"depot": "p0", "city": "c0"}]),
        "depot_state:load",
    ),
    "run": (lambda ws: ws.runs("train", name="late")[0], "complete"),
    "run of a harmful name": (lambda ws: list_runs(ws.stores.metadata, name=HARM)[0], "&lt;img"),
    "run's metrics": (lambda ws: ws.run_metrics(ws.runs("train", name="late")[0].id), "loss"),
    "model version": (lambda ws: ws.models.get("late@1"), "roc auc"),
    "record": (lambda ws: ws.models.record("late@1"), "ROC curve"),
    "chart": (lambda ws: ws.models.charts("late@1")["roc_curve"], "ROC curve"),
    "trained": (lambda ws: ws.train("late"), "ROC curve"),
    "comparison": (lambda ws: ws.models.compare("late@1", "late@2"), "trainer.depth"),
    "endpoint": (lambda ws: ws.endpoints.show("late"), "primary"),
    "deployment": (lambda ws: ws.deployments()[0], "late@1"),
    "monitor": (lambda ws: ws.monitoring.show("late@1"), "heat"),
    "window": (lambda ws: ws.monitoring.show("late@1").windows[-1], "Quality"),
    "prediction": (lambda ws: ws.monitoring.prediction(ws.predictions("late")["prediction_id"][0]), "Why"),
    "predictions": (lambda ws: ws.predict("late@1", [asked(ws)]), "1 answers"),
    "plan": (lambda ws: ws.plan(), "changes"),
}


READ = ("dataset", "feature", "run", "model version", "chart", "endpoint", "monitor", "prediction", "comparison")
"""The cards whose every text is looked at: all of their parts are among these."""


class Held(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name.lower().rpartition(":")[2] for name, _ in attrs}


@pytest.fixture(scope="module")
def looked_at(served: UiServer) -> Workspace:
    return served.workspace


@pytest.fixture(scope="module")
def cards(looked_at: Workspace) -> dict[str, str]:
    """The HTML of each object, as a kernel sends it to a notebook."""
    show = DisplayFormatter().format
    return {name: show(made(looked_at))[0]["text/html"] for name, (made, _) in OBJECTS.items()}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_card_says_what_matters_and_loads_and_runs_nothing(cards, name):
    card, (_, said) = cards[name], OBJECTS[name]
    assert said in card
    assert card.startswith('<div class="carrara">')
    held = Held()
    held.feed(card)
    assert held.elements & {"script", "img", "image", "link", "iframe", "object", "foreignobject", "use"} == set()
    assert {name for name in held.attributes if name in ("src", "srcset", "href") or name.startswith("on")} == set()
    assert "@import" not in card
    assert set(re.findall(r"url\((.)", card)) <= {"#"}


def test_what_comes_from_data_is_escaped(cards):
    assert "&lt;script&gt;" in cards["dataset of harmful names"]


def test_the_ids_of_a_card_are_its_own(looked_at):
    chart = looked_at.models.charts("late@1")["roc_curve"]
    ids = [set(re.findall(r'\bid="([^"]+)"', chart._repr_html_())) for _ in range(2)]
    assert ids[0] & ids[1] == set()


def test_records_and_charts_are_still_plain_data(looked_at):
    record = looked_at.models.record("late@1")
    assert record["metrics"]["test"]["roc_auc"]["value"] == looked_at.models.get("late@1").metrics["roc_auc"]
    assert repr(record).startswith("<Record of late@1: ")
    assert "roc_curve" in repr(looked_at.models.charts("late@1"))


def test_without_the_library_that_draws_charts_their_names_are_told(looked_at, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    shown = looked_at.models.record("late@1")._repr_html_()
    assert "Charts: roc_curve, " in shown
    assert "pip install &#x27;carrara[report]&#x27;" in shown
    assert "How good it is" in shown


def test_the_palette_is_that_of_the_style_sheet_of_the_pages():
    import carrara.ui

    sheet = (Path(carrara.ui.__file__).parent / "static" / "carrara.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    for block, colors in ((light, LIGHT), (dark, DARK)):
        said = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        assert {name: said.get(name) for name in colors} == colors


@pytest.mark.parametrize(("theme", "background"), [("light", LIGHT["page"]), ("dark", DARK["page"])])
def test_cards_are_readable_in_the_theme_of_the_notebook(browser, cards, tmp_path, theme, background):
    """JupyterLab says its theme on the body; axe looks at the contrast of every text."""
    body = f'<body class="jp-RenderedHTMLCommon" data-jp-theme-light="{str(theme == "light").lower()}">'
    page = tmp_path / "notebook.html"
    page.write_text(
        f"<!doctype html><html lang=en><title>Notebook</title>{body}<main>"
        f"{''.join(cards[name] for name in READ)}</main>",
        encoding="utf-8",
    )
    browser.get(page.as_uri())
    painted = browser.execute_script("return getComputedStyle(document.querySelector('.carrara')).backgroundColor")
    assert [int(one) for one in re.findall(r"\d+", painted)] == list(bytes.fromhex(background[1:]))
    curve = browser.execute_script(
        "return getComputedStyle(document.querySelector(\"svg path[stroke-width='2']\")).stroke"
    )
    accent = (DARK if theme == "dark" else LIGHT)["accent"]
    assert [int(one) for one in re.findall(r"\d+", curve)] == list(bytes.fromhex(accent[1:]))
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({runOnly: ['color-contrast', 'svg-img-alt']}).then((all) => done(all.violations))"
    )
    assert [node["html"][:160] for one in found for node in one["nodes"]] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
