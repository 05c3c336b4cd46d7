"""A run directory with five methods, three datasets and three seeds, made without running anything."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from diadbench.reports import build

ROOT = Path(__file__).resolve().parents[2]


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_run", ROOT / "benchmarks" / "synthetic_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Any]:
    return _module().make_run  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def demo(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five methods x three datasets x three seeds; one dataset without masks, one failed cell, one flagged method."""
    run = make_run(
        tmp_path_factory.mktemp("runs") / "demo",
        without_masks=["elpv"],
        failed={("visa", "padim", 1): ("oom", "out of memory: 12.1 GiB asked for")},
        notes={"DRAEM": ["procedural images"]},
        pictures=2,
    )
    return Path(run.path)


@pytest.fixture(autouse=True)
def _own_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_PUBLISHED", str(tmp_path / "published.csv"))


@pytest.fixture(scope="session")
def report(demo: Path) -> dict[str, Path]:
    """Return every artefact of the run above, by its name."""
    return build(demo)
