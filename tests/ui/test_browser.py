"""The pages in a real browser: the way from a feature to an explained prediction, and what axe finds on each page.

Screenshots of every page, wide and light, narrow and dark, stay in the run's folder `screenshots…`.
"""

from __future__ import annotations

import re
from pathlib import Path

import axe_core_python
import pytest
from pages_served import ask_a_server
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
PATHS = {
    "overview": "/",
    "datasets": "/datasets",
    "dataset": "/datasets/trips",
    "dataset-schema": "/datasets/trips/schema",
    "dataset-diff": "/datasets/" + "n" * 4_096 + "/diff",
    "features": "/features",
    "feature": "/features/depot_state:load",
    "runs": "/runs",
    "models": "/models",
    "model": "/models/late",
    "model-version": "/models/late/1",
    "compare": "/models/late/compare?a=1&b=2",
    "trials": "/models/late/trials",
    "trees": "/models/late/1/trees",
    "endpoints": "/endpoints",
    "endpoint": "/endpoints/late",
    "monitoring": "/monitoring",
    "monitor": "/monitoring/late/1",
    "lineage": "/lineage?of=model:late@1",
    "schedules": "/schedules",
    "audit": "/audit",
    "not-found": "/nowhere",
}


def wait(browser, condition, seconds: float = 30):
    return WebDriverWait(browser, seconds, 0.05).until(lambda _: condition())


def find(browser, css: str):
    return wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, css))[0]


def text(browser) -> str:
    return browser.find_element(By.TAG_NAME, "main").text


def click(browser, name: str) -> None:
    """Follow a link, or press a button, by what it says, and be on the next page."""
    before = find(browser, "main")
    xpath = f"//main//a[normalize-space()='{name}'] | //main//button[normalize-space()='{name}']"
    wait(browser, lambda: browser.find_elements(By.XPATH, xpath))[0].click()
    wait(browser, lambda: gone(before))
    find(browser, "main")


def gone(element) -> bool:
    try:
        element.is_enabled()
    except Exception:
        return True
    return False


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("screenshots")


def look(browser, *, dark: bool = False, narrow: bool = False) -> None:
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    width, height = (390, 844) if narrow else (1360, 1000)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": narrow}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture
def signed_in(browser, served):
    look(browser)
    browser.get(served.sign_in_link())
    find(browser, "nav")
    browser.get_log("browser")
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_from_a_feature_to_a_prediction_that_is_explained(browser, own_page, screenshots):
    look(browser)
    browser.get(own_page.sign_in_link())
    # What waits for a decision, and what is live.
    assert "late@2 passed its gates; late serves 1" in text(browser)

    # A feature is found as one types.
    find(browser, "nav a[href='/features']").click()
    field = find(browser, "input[type=search]")
    field.send_keys("load")
    wait(browser, lambda: re.search(r"\b\d features?\b", text(browser)) and "q=load" in browser.current_url)
    click(browser, "depot_state:load")
    assert wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "[data-load] polyline"))

    # The model that reads it, and its ROC curve.
    click(browser, "late@2")
    curve = find(browser, "[data-name='roc_curve'] svg.marks")
    browser.execute_script("arguments[0].scrollIntoView()", curve)
    assert "ROC curve" in curve.text
    assert re.search(r"area 0\.\d{3}", curve.text)
    assert curve.size["width"] > 300
    path = find(browser, "[data-name='roc_curve'] svg.marks path[stroke-width='2']").get_attribute("d")
    assert path.count("L") > 20

    # Two versions side by side.
    click(browser, "Compare")
    assert "trainer.depth" in text(browser)

    # It is tried on a tenth of the traffic: asked once, then done.
    browser.get(own_page.url + "/models/late/2")
    click(browser, "Try as a canary")
    assert "Give late@2 10 % of the traffic" in text(browser)
    click(browser, "Try")
    assert "serves late@1 · canary late@2" in text(browser)
    assert "10.0 %" in text(browser)

    # Its traffic, which a server sees: it comes without loading the page again.
    assert "No server has answered for it in this time." in text(browser)
    ask_a_server(own_page.workspace, 60)
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "svg .curve"))
    assert re.search(r"late@1 as primary: \d+", text(browser))
    assert re.search(r"late@2 as canary: \d+", text(browser))
    assert "Latency" in text(browser)
    browser.save_screenshot(str(screenshots / "canary.png"))

    # Then it is deployed.
    browser.get(own_page.url + "/models/late/2")
    click(browser, "Deploy")
    assert "Let the endpoint late serve late@2 from now on?" in text(browser)
    click(browser, "Deploy")
    assert own_page.workspace.deployments()[0].version == 2
    assert "serves late@2" in text(browser)

    # What the endpoint served before, and how that did.
    assert browser.find_elements(By.CSS_SELECTOR, "svg .curve")
    assert "late@1 as primary" in text(browser)

    # One prediction, with what each feature added.
    browser.get(own_page.url + "/monitoring/late/1")
    assert "60 predictions" in text(browser)
    find(browser, "#live a.mono").click()
    wait(browser, lambda: "What each feature adds" in text(browser))
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.bar")) > 5
    browser.save_screenshot(str(screenshots / "prediction.png"))
    wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert wrong == []


@pytest.mark.parametrize("name", PATHS)
def test_axe_finds_nothing_serious_and_nothing_overflows(signed_in, served, screenshots, name):
    check(signed_in, served.url + PATHS[name], screenshots / f"{name}.png")


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_nor_in_the_dark_on_a_telephone(signed_in, served, screenshots, name):
    look(signed_in, dark=True, narrow=True)
    check(signed_in, served.url + PATHS[name], screenshots / f"{name}-dark-narrow.png", width=390)


def check(browser, url: str, screenshot: Path, width: int = 1360) -> None:
    browser.get(url)
    find(browser, "footer")
    wait(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "[data-load] > a"))
    browser.save_screenshot(str(screenshot))
    if not url.endswith("/nowhere"):
        assert browser.title.partition(" · ")[0] not in ("Failed", "Not found", "Not possible")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert serious(browser) == []
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [e for e in errors if "404" not in e] == []


def serious(browser) -> list[str]:
    """What axe calls serious or critical, and where."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run().then((all) => done(all.violations))"
    )
    wrong = [one for one in found if one["impact"] in ("serious", "critical")]
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in wrong
        for node in one["nodes"][:3]
    ]


def test_a_run_is_seen_to_end_without_loading_the_page_again(signed_in, served):
    """Live parts come by server-sent events."""
    from carrara.metadata.run_metrics import LiveMetrics
    from carrara.metadata.runs import run

    with run(served.workspace.stores.metadata, "train", "late", {}) as run_id:
        metric = LiveMetrics(served.workspace.stores.metadata, run_id)
        metric.add("loss", 1, 0.5)
        signed_in.get(f"{served.url}/runs/{run_id}")
        assert "running" in text(signed_in)
        page = signed_in.find_element(By.TAG_NAME, "body")
        metric.add("loss", 2, 0.25)
        metric.flush()
        wait(signed_in, lambda: "0.25" in text(signed_in))
    wait(signed_in, lambda: "complete" in text(signed_in))
    assert not gone(page)


def test_a_chart_is_a_picture_where_its_library_does_not_come(signed_in, served):
    signed_in.execute_cdp_cmd("Network.enable", {})
    signed_in.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    signed_in.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/static/vega.js"]})
    try:
        signed_in.get(served.url + "/models/late/1")
        signed_in.execute_script("document.querySelector('.charts').scrollIntoView()")
        picture = find(signed_in, "[data-name='roc_curve'] img")
        wait(signed_in, lambda: picture.size["width"] > 100)
    finally:
        signed_in.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        signed_in.execute_cdp_cmd("Network.disable", {})


def test_the_pages_work_without_a_script(browser, served):
    look(browser)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(served.sign_in_link())
        browser.get(served.url + "/models/late/1")
        picture = wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "[data-name='roc_curve'] img"))[0]
        wait(browser, lambda: picture.size["width"] > 100)
        browser.get(served.url + "/features?q=load")
        assert "depot_state:load" in text(browser)
        browser.get(served.url + "/features/depot_state:load")
        click(browser, "Its distribution by the time of its rows")
        assert browser.find_elements(By.CSS_SELECTOR, "polyline")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
