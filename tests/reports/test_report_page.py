"""The page in a real headless Chromium: nothing but the file is asked for, and mouse, keyboard, phone and dark work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed (pip install playwright)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed (apt install chromium)")
Open = Callable[..., Any]
#: from images to their widths, once each has come, or failed and so is 0 wide
LOADED = """images => Promise.all(images.map(image => new Promise(done => {
    image.loading = "eager";
    if (image.complete) done(image.naturalWidth);
    for (const end of ["load", "error"]) image.addEventListener(end, () => done(image.naturalWidth));
})))"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, report: dict[str, Path]) -> Iterator[Open]:
    """Return a function that opens the report; whatever it logs or asks the network for fails the test."""
    said: list[str] = []
    contexts = []
    address = report["index.html"].as_uri()

    def ask(request: Any) -> None:
        if request.url.partition("#")[0] != address and not request.url.startswith("data:"):
            said.append(f"asks for {request.url[:100]}")

    def opened(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", ask)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def _shown(page: Any, column: int = 1) -> list[str]:
    """Return the texts of one column of the summary, notes left out, of the rows that are shown."""
    script = """column => [...document.querySelectorAll("#summary-table tbody tr")].filter(row => row.offsetHeight > 0)
        .map(row => [...row.cells[column].childNodes].filter(part => part.nodeName !== "SUP"))
        .map(parts => parts.map(part => part.textContent).join("").trim())"""
    return list(page.evaluate(script, column))


def _figures(page: Any, column: int) -> list[float]:
    return [float(text.partition(" ")[0].replace("–", "nan")) for text in _shown(page, column)]


def _is_sorted(values: list[float], *, descending: bool) -> bool:
    known = [value for value in values if value == value]
    undefined_last = all(value == value for value in values[: len(known)])
    return undefined_last and known == sorted(known, reverse=descending)


def test_failures_are_the_first_thing_on_the_page(open_page: Open) -> None:
    page = open_page()
    assert page.locator("main section").first.get_attribute("id") == "failures"
    text = page.locator("#failures").inner_text()
    assert "2 cells without a result" in text
    assert "it needs what is not here" in text
    assert "out of memory: 12.1 GiB asked for" in text
    page.locator("#failures button.open").first.click()
    assert "MemoryError" in page.locator("#cell-body").inner_text()


def test_sort_by_mouse_and_by_keyboard(open_page: Open) -> None:
    page = open_page()
    heads = page.locator("#summary-table thead th")
    for column in (2, 8):  # image AU-ROC; PRO, undefined where there are no masks
        heads.nth(column).locator("button").click()
        assert heads.nth(column).get_attribute("aria-sort") == "descending"
        assert _is_sorted(_figures(page, column), descending=True)
    assert len(set(_figures(page, 2))) > 5
    heads.nth(2).locator("button").focus()
    for key, descending in (("Enter", True), ("Space", False)):
        page.keyboard.press(key)
        assert heads.nth(2).get_attribute("aria-sort") == ("descending" if descending else "ascending")
        assert _is_sorted(_figures(page, 2), descending=descending)
    heads.nth(1).locator("button").click()
    assert _shown(page) == sorted(_shown(page), key=str.lower)


def test_filter_and_switch_dataset_and_metric(open_page: Open) -> None:
    page = open_page()
    assert len(_shown(page)) == 15
    page.keyboard.press("/")
    page.keyboard.type("uni")
    assert _shown(page) == ["UniAD"] * 3
    assert page.locator("#count").inner_text() == "3 of 15 rows"
    page.locator("#filter").fill("")
    page.locator("#pick-dataset").select_option("visa")
    assert _shown(page, 0) == ["visa"] * 5
    page.locator("#pick-metric").select_option("mAU-PRO_R")
    heads = page.locator("#summary-table thead th").all()
    assert [head.text_content() for head in heads if head.is_visible()] == ["Dataset", "Method", "mAU-PROR"]


def test_the_table_by_class_follows_its_switches_and_says_what_the_results_say(
    open_page: Open, report: dict[str, Path]
) -> None:
    rows = pd.read_csv(report["results.csv"])
    page = open_page()
    for dataset, metric in (("mvtec", "i_auroc"), ("visa", "p_ap")):
        page.locator("#class-dataset").select_option(dataset)
        page.locator("#class-metric").select_option(metric)
        script = (
            """() => [...document.getElementById("class-table").rows].map(r => [...r.cells].map(c => c.textContent))"""
        )
        heads, *lines = page.evaluate(script)
        assert len(lines) == 5
        for line in lines:
            for name, text in zip(heads[1:], line[1:]):
                same = (rows["dataset"] == dataset) & (rows["metric"] == metric) & (rows["class"] == name)
                values = rows.loc[same & (rows["method"].str.lower() == line[0].lower()), "value"]
                assert text == f"{100 * values.mean():.1f} ± {100 * values.std():.1f}"


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_a_figure_opens_its_classes_images_log_and_configuration(open_page: Open, way: str) -> None:
    page = open_page()
    row = page.locator("#summary-table tbody tr").first
    if way == "mouse":
        row.locator("td.n").nth(3).click()
    else:
        row.locator("button.open").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
    dialog = page.locator("#cell")
    assert dialog.is_visible()
    assert page.locator("#cell-title").inner_text() == "DiAD on mvtec"
    text = page.locator("#cell-body").text_content()
    for part in ("bottle", "Images", "median", "DiAD fits", "<script>alert(1)</script>", "rebuilds: true"):
        assert part in text, part
    pictures = page.locator("#cell-body img")
    widths = pictures.evaluate_all(LOADED)
    assert len(widths) > 20
    assert min(widths) > 8
    assert {"image", "ground truth", "anomaly map", "overlay", "reconstruction"} <= set(
        pictures.evaluate_all("images => images.map(i => i.title)")
    )
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    if way == "keyboard":  # back where the reader was
        assert page.evaluate("document.activeElement.dataset.cell") == row.locator("button.open").get_attribute(
            "data-cell"
        )


def test_every_figure_loads(open_page: Open) -> None:
    page = open_page()
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    images = page.locator("#figures img")
    widths = images.evaluate_all(LOADED)
    assert len(widths) >= 20
    assert min(widths) > 100


def _light(page: Any, selector: str) -> float:
    colour = page.locator(selector).evaluate("node => getComputedStyle(node).backgroundColor")
    return sum(map(float, colour[colour.index("(") + 1 : -1].split(",")[:3])) / 3


def test_dark_follows_the_system_and_the_button(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    assert _light(page, "body") < 60
    page.locator("#theme").click()
    assert _light(page, "body") > 200
    page.reload()
    assert _light(page, "body") > 200  # kept
    assert _light(open_page(color_scheme="light"), "body") > 200


def test_a_phone_scrolls_no_page_sideways(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    width = "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"
    assert max(page.evaluate(width)) <= 390
    page.locator("#summary-table button.open").first.tap()
    assert page.locator("#cell").is_visible()
    box = page.locator("#cell").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.locator("#cell").evaluate("node => node.scrollWidth - node.clientWidth") == 0
    assert max(page.evaluate(width)) <= 390


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_accessibility_check_finds_nothing(open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe isn't installed (pip install axe-playwright-python)"
    )
    page = open_page(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    for opened in (False, True):
        if opened:
            page.locator("#summary-table button.open").first.click()
        found = axe.Axe().run(page).response["violations"]
        assert not found, json.dumps(
            [(rule["id"], rule["help"], rule["nodes"][0]["html"][:200], len(rule["nodes"])) for rule in found], indent=1
        )
