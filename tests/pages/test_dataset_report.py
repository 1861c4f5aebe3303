"""The page of a dataset, opened in a real browser: what is wrong comes first, and its tools work offline."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from selenium.webdriver.common.by import By

from carrara.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of one version, and of two side by side."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "carrara.toml").write_text("")
    random = np.random.default_rng(0)
    rows = 3_000
    before = pl.DataFrame(
        {
            "delay": random.normal(10, 3, rows),
            "carrier": random.choice(["AA", "UA"], rows),
            "month": random.integers(1, 13, rows),
            "<b>odd & name</b>": ["<script>document.title = 'broken'</script>"] * rows,
        }
    )
    after = before.with_columns(pl.col("delay") + 3, carrier=pl.lit("ZZ"))
    with Workspace(folder) as workspace:
        workspace.datasets.ingest_from("flights", before)
        one = workspace.datasets.report("flights")
        workspace.datasets.ingest_from("flights", after)
        yield one, workspace.datasets.report("flights", against=1)


def shown(browser) -> list[str]:
    return [a.get_attribute("data-name") for a in browser.find_elements(By.CSS_SELECTOR, ".column") if a.is_displayed()]


def test_the_page_of_a_clean_version_says_so_and_shows_every_column(browser, pages):
    browser.get(pages[0].as_uri())
    assert browser.title == "flights@1"
    assert "The rows are what the schema says" in browser.find_element(By.ID, "anomalies").text
    assert sorted(shown(browser)) == ["<b>odd & name</b>", "carrier", "delay", "month"]
    bars = browser.find_elements(By.CSS_SELECTOR, "[data-name='month'] svg.widths rect")
    assert len(bars) == 12
    assert all(bar.rect["height"] > 20 for bar in bars)
    assert browser.get_log("browser") == []


def test_anomalies_come_first_on_two_versions_side_by_side(browser, pages):
    browser.get(pages[1].as_uri())
    said = browser.find_element(By.ID, "anomalies").text
    assert "new categories: ZZ" in said
    assert "kolmogorov_smirnov" in said
    assert set(shown(browser)[:2]) == {"carrier", "delay"}
    drawings = browser.find_elements(By.CSS_SELECTOR, "[data-name='delay'] svg.widths")
    assert len(drawings) == 2
    middles = [
        sum(bar.rect["x"] * bar.rect["height"] for bar in bars) / sum(bar.rect["height"] for bar in bars)
        for bars in (drawing.find_elements(By.TAG_NAME, "rect") for drawing in drawings)
    ]
    assert middles[1] > middles[0] + 10
    assert browser.get_log("browser") == []


def test_a_reader_finds_columns_by_name_and_by_anomaly_and_changes_the_bins(browser, pages):
    browser.get(pages[1].as_uri())
    search = browser.find_element(By.ID, "search")
    search.send_keys("MON")
    assert shown(browser) == ["month"]
    assert browser.find_element(By.ID, "shown").text == "1"
    search.clear()
    search.send_keys(" ")
    browser.find_element(By.ID, "only").click()
    assert set(shown(browser)) == {"carrier", "delay"}
    drawing = browser.find_element(By.CSS_SELECTOR, "[data-name='delay'] svg.densities")
    assert not drawing.is_displayed()
    browser.find_element(By.ID, "densities").click()
    assert drawing.is_displayed()


def test_the_page_needs_no_network(pages):
    for page in pages:
        text = page.read_text()
        assert "default-src 'none'" in text
        assert re.findall(r"""(?:src|href)=["']?(?!#)""", text) == []
        assert len(text) < 300_000
