"""The packaged grids are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.benchmark.metrics.protocols import get_protocol
from diadbench.benchmark.planning.grid import load_grid, parse_overrides
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.cli import main

SIX = {"mvtec", "visa", "realiad", "unimedical", "coco_ad", "mvtec3d"}


def test_the_paper_grid_is_the_papers_table() -> None:
    grid = load_grid("paper")
    assert set(grid.methods) == {"diad", "uniad", "patchcore", "draem"}
    assert set(grid.datasets) == SIX
    assert len(list(grid.cells())) == 6 * 4 * 3


def test_the_smoke_grid_has_every_method_on_all_six() -> None:
    from diadbench.methods.catalog import CATALOG

    grid = load_grid("smoke")
    assert set(grid.methods) == set(CATALOG) - {"maps"}, "maps needs a folder of maps"
    assert set(grid.datasets) == SIX
    assert {dataset.root for dataset in grid.datasets.values()} == {"sample"}
    assert grid.threads == 1, "numbers are equal to the last bit for equal numbers of threads"


def test_the_rivals_are_compared_at_one_size_with_their_authors_settings() -> None:
    grid = load_grid("rivals")
    assert set(grid.datasets) == {"mvtec", "visa", "realiad"}
    assert grid.evaluated_at == (256, 256)
    assert grid.size_for(grid.methods["dinomaly"]) == (448, 448)
    realiad = next(cell for cell in grid.cells() if (cell.dataset.label, cell.method.label) == ("realiad", "dinomaly"))
    assert realiad.method.options["max_steps"] == 50_000
    assert realiad.method.options["bottleneck_dropout"] == 0.4
    assert not any(cell.method.label == "rad" and cell.dataset.label == "realiad" for cell in grid.cells())
    visa = {cell.method.label: cell.method.options for cell in grid.cells() if cell.dataset.label == "visa"}
    mvtec = {cell.method.label: cell.method.options for cell in grid.cells() if cell.dataset.label == "mvtec"}
    for options in (visa, mvtec):
        assert (options["dinomaly"]["max_steps"], options["dinomaly"]["bottleneck_dropout"]) == (10_000, 0.2)
        assert options["inp-former"]["max_epochs"] == 200
    assert (visa["rad"]["k_image"], visa["rad"]["pos_radius"]) == (900, 2)
    assert (mvtec["rad"]["k_image"], mvtec["rad"]["pos_radius"]) == (150, 1)
    assert (visa["supersimplenet"]["perlin_threshold"], mvtec["supersimplenet"]["perlin_threshold"]) == (0.6, 0.2)


@pytest.mark.parametrize(("name", "hours", "cells"), [("rivals", 100, 23), ("few-shot", 5, 48), ("mvtec-ad-2", 13, 7)])
def test_grids_of_today_are_planned_without_data_with_what_they_may_cost(
    name: str,
    hours: int,
    cells: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DIADBENCH_DATA", raising=False)
    assert main(["run", name, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"0 cells to run, 0 kept, {cells} left out (missing)" in told
    assert f"\n{name}: " in told
    assert f"counted, not measured: about {hours} GPU hours (docs/scale.md)" in told
    text = (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"about {hours} GPU hours" in text


def test_the_rivals_have_a_switch_to_the_convention_of_dinomaly() -> None:
    """The command that the grid's comment and docs/methods.md give."""
    root = Path(__file__).resolve().parents[2]
    command = "diadbench run rivals protocol=dinomaly+crop0.875 evaluation_size=448 --out runs/rivals-dinomaly"
    for place in ("configs/grids/rivals.yaml", "docs/methods.md"):
        assert command in (root / place).read_text(encoding="utf-8"), place
    grid = load_grid("rivals", parse_overrides(["protocol=dinomaly+crop0.875", "evaluation_size=448"]))
    assert (grid.protocol, grid.evaluated_at) == ("dinomaly+crop0.875", (448, 448))
    assert get_protocol(grid.protocol).comparison == get_protocol("inp-former+crop0.875").comparison
    assert round(get_protocol(grid.protocol).crop * 448) == 392
    assert {label: grid.size_for(method) for label, method in grid.methods.items()} == {
        label: load_grid("rivals").size_for(method) for label, method in grid.methods.items()
    }


def test_few_shot_cells_are_settings_of_their_own() -> None:
    grid = load_grid("few-shot")
    assert {cell.setting for cell in grid.cells()} == {f"few-shot-{shots}" for shots in (1, 2, 4, 8)}


@pytest.mark.parametrize(
    "name",
    [
        "diad-ablation",
        "diad-further",
        "few-shot",
        "mvtec-ad-2",
        "paper",
        "paper-fast",
        "rivals",
        "robustness",
        "smoke",
        "smoke-rivals",
    ],
)
def test_options_are_options_of_the_methods(name: str) -> None:
    for label, spec in load_grid(name).methods.items():
        resolved = resolve_method(spec.method, spec.options, f"methods.{label}")
        assert resolved.options.items() >= spec.options.items()
