"""The page of a run that goes on: there at once, filling while cells end, in a browser that does nothing but look."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diadbench.benchmark.planning.forecast import in_turn
from diadbench.benchmark.planning.grid import load_grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.errors import UserError
from diadbench.reports.page.growing import GrowingPage, page_of
from diadbench.reports.page.unfinished import write_unfinished

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HERE = Path(__file__).resolve().parents[1] / "helpers"
#: A run whose cells end when this test lets them: each waits for a file of its own.
METHOD = """
import time
from pathlib import Path
from diadbench.methods.simple.trivial import MeanImage

class Waits(MeanImage):
    def __init__(self, gate: str) -> None:
        super().__init__()
        self.gate = gate

    def fit(self, train, run):
        while not Path(self.gate).exists():
            time.sleep(0.05)
        super().fit(train, run)
"""
#: What a user starts, but for the pace.
RUNNER = """
import sys
from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.runs.runner import run_grid
from diadbench.reports.page.growing import GrowingPage
with GrowingPage(every=1.0, share=0.5) as page:
    run_grid(load_grid(sys.argv[1]), sys.argv[2], follower=page)
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    (tmp_path / "waits.py").write_text(METHOD)
    gates = {name: f"{{method: waits.py:Waits, options: {{gate: {tmp_path / name}}}}}" for name in ("early", "late")}
    toy = "{toy: {options: {classes: [weave], train: 4, test_good: 2, test_bad: 2, size: 64}}}"
    methods = "".join(f"  {name}: {entry}\n" for name, entry in gates.items())
    path = tmp_path / "grows.yaml"
    path.write_text(f"name: grows\nmethods:\n{methods}datasets: {toy}\nimage_size: 32\njobs: 1\ndevice: cpu\n")
    return path


def _run(grid: Path, out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DIADBENCH_CACHE": str(grid.parent / "cache")}
    command = [sys.executable, "-c", RUNNER, str(grid), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _waited(what: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it didn't come in time"
        time.sleep(0.1)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed (apt install chromium)")
def test_a_browser_sees_the_page_fill_and_stop(grid: Path, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    out = tmp_path / "run"
    runner = _run(grid, out)
    try:
        _waited(page_of(out).exists)
        assert runner.stderr is not None
        said = next(line for line in runner.stderr if line.startswith("report: "))
        assert str(page_of(out)) in said
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 800, "height": 300})
            page.set_default_timeout(60_000)
            page.goto(page_of(out).as_uri())  # once: whatever comes later, the page fetches by itself
            page.wait_for_selector("#growing h2 >> text=0 of 2 cells have ended")
            (tmp_path / "early").touch()
            page.wait_for_selector("#growing h2 >> text=1 of 2 cells have ended")
            rows = page.locator("#summary-table tbody th").all_inner_texts()
            assert ["early" in rows[0], "late" in rows[1]] == [True, True]
            figures = page.locator("#summary-table tbody tr").first.locator("td.n").all_inner_texts()
            assert any(text.replace(".", "").isdigit() for text in figures)
            assert "(late)" in page.locator("#growing").inner_text().partition("Under way: ")[2]
            _keeps_its_place(page)
            runner.kill()  # no word to anybody
            page.wait_for_selector("#growing h2 >> text=The run stopped: 1 of 2 cells have ended")
            assert "diadbench run" in page.locator("#growing").inner_text()
            assert page.locator("#growing[data-reload]").count() == 0
            browser.close()
    finally:
        runner.kill()
        runner.wait()
        (tmp_path / "late").touch()  # the cell notices by itself that its runner is gone; it needn't wait for that


def _keeps_its_place(page: Any) -> None:
    """What the reader chose and where the reader was outlives the page's own looks."""
    page.select_option("#pick-metric", index=2)
    page.fill("#filter", "early")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 150); window.old = true")
    _waited(lambda: _is_new(page))
    assert page.evaluate("scrollY") == 150
    assert page.locator("#filter").input_value() == "early"
    assert page.locator("#pick-metric").evaluate("select => select.selectedIndex") == 2
    assert page.locator("#summary-table tbody tr:not([hidden])").count() == 1


def _is_new(page: Any) -> bool:
    try:
        return bool(page.evaluate("window.old === undefined && document.readyState === 'complete' && scrollY > 0"))
    except Exception:  # asked in the middle of a reload
        return False


def test_the_page_of_a_run_that_is_over_neither_reloads_nor_grows(report: dict[str, Path]) -> None:
    text = report["index.html"].read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in text
    assert 'id="growing"' not in text


@pytest.fixture
def own(demo: Path, tmp_path: Path) -> Path:
    """A copy of the run: other tests look at its report."""
    return Path(shutil.copytree(demo, tmp_path / "own", ignore=shutil.ignore_patterns("report")))


def test_the_lean_page_has_every_row_and_no_image(own: Path) -> None:
    path = write_unfinished(own, 20.0)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert "45 of 45 cells have ended" in text
    assert text.count("<tr data-d=") == 15
    assert "data:image" not in text


def test_nothing_is_left_behind_when_the_report_takes_the_place(own: Path) -> None:
    with GrowingPage() as page:
        page.begin(own)
        process = page._process
        assert process is not None
        page.changed()
        page.give_way()
        before = page_of(own).read_text(encoding="utf-8") if page_of(own).exists() else ""
        page.whole()
    assert process.poll() is not None
    assert before == (page_of(own).read_text(encoding="utf-8") if page_of(own).exists() else "")


@pytest.mark.usefixtures("toy_of_demo")
def test_cheap_methods_come_first(tmp_path: Path) -> None:
    plan = make_plan(load_grid("demo"), RunDirectory(tmp_path / "run", must_exist=False), "failed", missing="show")
    turn = in_turn(plan.cells, plan.grid.first)
    names = list(dict.fromkeys(planned.cell.method.label for planned in turn))
    assert names[:5] == plan.grid.first == ["mean-image", "pixel-knn", "global-knn", "padim", "patchcore"]
    assert set(names[5:]) == {"diad", "autoencoder", "uniad", "draem"}


def test_first_names_methods_of_the_grid() -> None:
    values = {"name": "x", "methods": ["mean-image"], "datasets": ["toy"], "first": ["mean-imag"]}
    with pytest.raises(UserError, match=r"first.*mean-imag.*mean-image"):
        parse_grid(values)
    assert "first" not in parse_grid({**values, "first": []}).to_yaml()
