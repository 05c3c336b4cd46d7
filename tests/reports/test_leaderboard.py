"""The leaderboard: two packs merged and published, what it says checked against the runs, and looked at in Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.sharing.pack import pack
from diadbench.cli import main
from diadbench.common.show import Show
from diadbench.reports.leaderboard.board import COLUMNS
from diadbench.reports.leaderboard.publishing import publish

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETS = {"mvtec": ["bottle", "cable"], "parts": ["nut", "bolt"]}
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def place(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packs of real runs, what they are merged to, and its site. PatchCore has other options in the second."""
    place = tmp_path_factory.mktemp("board")
    make_run(place / "mine", methods=["DiAD", "PatchCore"], datasets=SETS, seeds=[0, 1], images=6)
    notes = {"UniAD": "random weights"}
    make_run(place / "theirs", methods=["PatchCore", "UniAD"], datasets=SETS, seeds=[0, 1], images=6, notes=notes)
    for name in ("mine", "theirs"):
        pack(place / name, place / f"{name}.tar.gz")
    packs = [str(place / f"{name}.tar.gz") for name in ("mine", "theirs")]
    assert main(["merge", *packs, "--out", str(place / "both")]) == 0
    assert main(["publish", str(place / "both"), "--out", str(place / "site"), "--title", "Our board"]) == 0
    return place


def table(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "site/leaderboard.json").read_text(encoding="utf-8"))
    return found


def test_every_figure_is_that_of_the_runs(place: Path) -> None:
    results = RunDirectory(place / "both").results()
    rows = [row for row in table(place)["rows"] if not row["published"]]
    assert len(rows) == 8
    for row in rows:
        cells = results[(results["configuration"] == row["configuration"]) & (results["scope"] == "mean")]
        cells = cells[cells["dataset"] == row["dataset"]]
        for metric, said in row["metrics"].items():
            values = cells.loc[cells["metric"] == metric, "value"]
            assert said["value"] == pytest.approx(values.mean(), abs=1e-12)
            assert said["std"] == pytest.approx(values.std(), abs=1e-12)
        assert {"commit", "hardware", "data fingerprint", "seeds", "configuration"} <= set(row["facts"])


def test_differences_are_explained(place: Path) -> None:
    rows = [row for row in table(place)["rows"] if row["dataset"] == "mvtec"]
    patchcore = [row for row in rows if row["method"].startswith("PatchCore") and not row["published"]]
    assert len(patchcore) == 2
    assert any("noise=0.07" in text and "noise=0.04" in text for text in patchcore[0]["beside"])
    against = [text for text in patchcore[0]["beside"] if "published by" in text]
    assert against
    assert "image_size=32" in against[0]
    assert "metric conventions of the paper may differ" in against[0]
    assert not any(row["published"] for row in table(place)["rows"] if row["dataset"] == "parts")


def test_the_grid_to_repeat_a_figure_asks_for_the_same_cells(place: Path, tmp_path: Path) -> None:
    page = (place / "site/method-diad.html").read_text(encoding="utf-8")
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    row = next(row for row in data["rows"] if row["title"] == "DiAD on parts")
    text = row["repeat"].replace("RUN/code", str(place / "mine/code"))
    (tmp_path / "repeat.yaml").write_text(text, encoding="utf-8")
    grid = load_grid(tmp_path / "repeat.yaml", {"datasets.parts.root": str(place / "mine images/1")})
    plan = make_plan(grid, RunDirectory(tmp_path / "again", must_exist=False))
    known = {cell.identity for cell in RunDirectory(place / "mine").cells()}
    assert {planned.config["identity"] for planned in plan.cells} <= known
    assert len(plan.cells) == 2
    assert str(place) not in page  # no path of the machine that ran it


def test_metadata_for_model_cards_is_read_by_the_hub(place: Path) -> None:
    cards = pytest.importorskip("huggingface_hub.repocard_data")
    text = (place / "site/model-index/method-diad.yaml").read_text(encoding="utf-8")
    name, results = cards.model_index_to_eval_results(yaml.safe_load(text)["model-index"])
    assert name == "DiAD"
    found = {(each.dataset_name, each.metric_type): each.metric_value for each in results}
    row = next(row for row in table(place)["rows"] if row["method"] == "DiAD" and row["dataset"] == "parts")
    assert found["parts", "mad"] == pytest.approx(100 * row["metrics"]["mad"]["value"], abs=1e-5)
    assert {key for _, key in found} == set(row["metrics"])


def test_a_folder_of_other_things_is_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    assert main(["publish", str(place / "both"), "--out", str(tmp_path)]) == 2
    assert "holds something else than a leaderboard" in capsys.readouterr().err
    assert main(["publish", "--out", str(tmp_path)]) == 2


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    if CHROMIUM is None:
        pytest.skip("Chromium isn't installed (apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def pages(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page; whatever it logs or asks the network for fails the test."""
    said: list[str] = []
    contexts = []

    def opened(file: Path, viewport: dict[str, int]) -> Any:
        context = chromium.new_context(viewport=viewport)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda ask: None if ask.url.startswith(("file:", "data:")) else said.append(ask.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def shown(page: Any) -> list[str]:
    script = """() => [...document.querySelectorAll("#board-table tbody tr")].filter(row => row.offsetHeight > 0)
        .map(row => row.querySelector("button.open").textContent)"""
    return list(page.evaluate(script))


def test_sort_filter_and_open(place: Path, pages: Callable[..., Any]) -> None:
    page = pages(place / "site/index.html", DESKTOP)
    assert page.locator("h1").inner_text() == "Our board"
    assert len(shown(page)) == 8
    page.locator("thead button", has_text="mAD").click()
    figures = page.evaluate("""() => [...document.querySelectorAll("#board-table tbody tr:not([hidden])")]
        .map(row => Number(row.cells[9].dataset.v))""")
    assert figures == sorted(figures, reverse=True)
    page.locator("[data-filter=dataset]").select_option("parts")
    page.locator("#filter").fill("uni")
    assert shown(page) == ["UniAD"]
    page.locator("#published").check()
    page.locator("[data-filter=dataset]").select_option("mvtec")
    assert len(shown(page)) > 2
    page.locator("#filter").fill("patchcore")
    page.locator("tr:not(.published):not([hidden]) button.open").first.click()
    text = page.locator("#cell-body").inner_text()
    for part in ("data fingerprint", "hardware", "commit", "diadbench rerun RUN/cells/mvtec", "repeat.yaml", "noise="):
        assert part in text
    page.keyboard.press("Escape")
    assert not page.locator("#cell").is_visible()


def test_links_lead_to_pages_that_are_there(place: Path, pages: Callable[..., Any]) -> None:
    for file in sorted((place / "site").glob("*.html")):
        page = pages(file, DESKTOP)
        links = page.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
        assert len(links) > 4
        for link in links:
            assert link.startswith("#") or (file.parent / link).is_file(), (file.name, link)


@pytest.mark.parametrize("name", ["index", "dataset-mvtec", "method-patchcore"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_fit_and_are_accessible(place: Path, pages: Callable[..., Any], name: str, viewport: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python isn't installed")
    page = pages(place / f"site/{name}.html", viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    for theme in ("light", "dark"):
        found = axe.Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:90]) for each in found] == [], theme
        page.locator("#theme").click()
    page.locator("tr:not([hidden]) button.open").first.click()
    assert page.locator("#cell").is_visible()
    assert axe.Axe().run(page).response["violations"] == []


def test_dropped_classes_are_in_no_figure_and_a_value_alone_is_not_the_best(place: Path, tmp_path: Path) -> None:
    publish([place / "both"], tmp_path / "site", show=Show.read({"drop": ["cable", "nut"]}))
    page = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    rows = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])["rows"]
    results = RunDirectory(place / "both").results()
    left = results[(results["scope"] == "class") & results["class"].isin(["bottle", "bolt"])]
    checked = 0
    for row in rows:
        identities = dict(re.findall(r"seed (\d+): (\w+)", dict(row["facts"]).get("identities", "")))
        for seed, *texts in row["seeds"]:
            own = left[left["identity"] == identities[seed]].set_index("metric")["value"]
            expected = [f"{100 * own[key]:.3f}" for key in COLUMNS]
            assert texts[: len(expected)] == expected
            checked += 1
    assert checked == 16
    publish([place / "both"], tmp_path / "site", show=Show.read({"methods": ["DiAD"]}))
    assert 'class="n r1"' not in (tmp_path / "site/index.html").read_text(encoding="utf-8")
