"""The packaged grids are what they say."""

from __future__ import annotations

import pytest

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.resolve import resolve_method

SIX = {"mvtec", "visa", "realiad", "unimedical", "coco_ad", "mvtec3d"}


def test_the_paper_grid_is_the_papers_table() -> None:
    grid = load_grid("paper")
    assert set(grid.methods) == {"diad", "uniad", "patchcore", "draem"}
    assert set(grid.datasets) == SIX
    assert len(list(grid.cells())) == 6 * 4 * 3


def test_the_smoke_grid_has_every_method_on_all_six() -> None:
    from diadbench.methods.catalog import CATALOG

    grid = load_grid("smoke")
    assert set(grid.methods) == set(CATALOG)
    assert set(grid.datasets) == SIX
    assert {dataset.root for dataset in grid.datasets.values()} == {"sample"}
    assert grid.threads == 1, "numbers are equal to the last bit for equal numbers of threads"


@pytest.mark.parametrize("name", ["diad-ablation", "paper", "paper-fast", "smoke"])
def test_options_are_options_of_the_methods(name: str) -> None:
    for label, spec in load_grid(name).methods.items():
        resolved = resolve_method(spec.method, spec.options, f"methods.{label}")
        assert resolved.options.items() >= spec.options.items()
