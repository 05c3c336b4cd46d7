"""Run directories that reports are built from: small grids that were really run, so that the files are a cell's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

from diadbench import datasets
from diadbench.benchmark.planning.grid import load_grid
from diadbench.reports import build
from diadbench.reports.figures import share

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HELPERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _figures_are_drawn_here() -> Iterator[None]:
    """Start no processes for figures where a test doesn't ask for them: pytest-xdist's have the cores already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(share, "MANY", sys.maxsize)
        yield


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Return the function that runs a small grid; its cells share a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield _module("real_run").make_run


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that the grid ``demo`` draws: the set's own lock lets one process of pytest-xdist draw them."""
    place = tmp_path_factory.getbasetemp()
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "toy of demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place))
        made = datasets.get("toy", **load_grid("demo").datasets["toy"].options)
        assert len(made.samples) == 608
    return place


@pytest.fixture
def toy_of_demo(_drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a cache of its own that has nothing but these images: to draw them takes seconds."""
    shutil.copytree(_drawn / "toy", tmp_path / "cache" / "toy")
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_scaled() -> Callable[..., Any]:
    """Return the function that copies real cells into a large run directory."""
    return _module("scaled_run").make_scaled  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def demo(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five methods x three datasets x three seeds; no masks in one dataset, two cells without a result, one note.

    The processes of pytest-xdist run it once and take a copy each.
    """
    own = tmp_path_factory.mktemp("runs")
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(shared / "demo.lock"):
        if not (shared / "made" / "demo" / "results.csv").is_file():
            make_run(
                shared / "made" / "demo",
                without_masks=["elpv"],
                ends={
                    ("visa", "padim", 1): {"exhausts": "out of memory: 12.1 GiB asked for"},
                    ("elpv", "padim", 2): {"skips": "it needs what is not here"},
                },
                notes={"DRAEM": "procedural images"},
                trains="UniAD",
            )
    return Path(shutil.copytree(shared / "made" / "demo", own / "demo"))


@pytest.fixture(autouse=True)
def _own_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_PUBLISHED", str(tmp_path / "published.csv"))


@pytest.fixture(scope="session")
def report(demo: Path) -> dict[str, Path]:
    """Return every artefact of the run above, by its name."""
    return build(demo)
