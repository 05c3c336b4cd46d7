"""One trained model under other options of prediction gives what a cell of those options gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diadbench.benchmark.planning.grid import Grid, load_grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.variants import by_training, score_variants
from diadbench.benchmark.runs.runner import run_grid
from diadbench.common.errors import UserError
from diadbench.methods.catalog import CATALOG
from diadbench.methods.registry import get_class
from tests.diad.test_diad_method import TINY
from tests.helpers.real_run import InProcess

OTHER: dict[str, dict[str, Any]] = {
    "plain": {},
    "sampling": {"steps": 1, "spacing": "trailing", "start": 199, "n_samples": 2, "posterior": "mean"},
    "map": {"levels": [2, 3], "sigma": 1.0, "feature_size": 96, "pool": 2},
}


def tiny_grid(**others: dict[str, Any]) -> Grid:
    methods = {name: {"method": "diad", "options": {**TINY, **more}} for name, more in {**OTHER, **others}.items()}
    toy = {"options": {"classes": ["weave", "tile"], "train": 4, "test_good": 2, "test_bad": 1}}
    values = {"image_size": 64, "evaluation_size": 96, "threads": 1, "device": "cpu", "batch_size": 4}
    return parse_grid({"name": "variants", "methods": methods, "datasets": {"toy": toy}, **values})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run in which each entry trains for itself."""
    place = tmp_path_factory.mktemp("variants")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        run_grid(tiny_grid(), place / "run", engine=InProcess(), quiet=True)
    return RunDirectory(place / "run")


def cell(run: RunDirectory, name: str) -> CellRecord:
    return run.cell("toy", name, "multi-class", 0)


@pytest.mark.slow
def test_a_variant_has_the_figures_of_a_cell_that_trained_for_itself(run: RunDirectory) -> None:
    asked = {name: (cell(run, "plain"), cell(run, name).config["method_options"]) for name in OTHER}
    found = score_variants(asked)
    for name in OTHER:
        own = {row["metric"]: float(row["value"]) for row in cell(run, name).metrics() if row["scope"] == "mean"}
        assert {metric: found[name].metrics[metric] for metric in own} == own
        assert found[name].seconds > 0
        assert set(found[name].notes) <= set(cell(run, name).status["notes"])
    assert len({found[name].metrics["p_auroc"] for name in OTHER}) == len(OTHER)
    assert not list(cell(run, "plain").directory.glob("spill*"))


@pytest.mark.slow
def test_another_training_or_test_is_refused(run: RunDirectory) -> None:
    plain = cell(run, "plain")
    with pytest.raises(UserError, match=r"not the train_steps that .* was trained with"):
        score_variants({"longer": (plain, {**plain.config["method_options"], "train_steps": 5})})
    with pytest.raises(UserError, match="expected a cell that is done; it is waiting"):
        score_variants({"absent": (cell(run, "absent"), plain.config["method_options"])})


@pytest.mark.slow
def test_entries_are_grouped_by_what_trains_them(run: RunDirectory) -> None:
    groups = by_training(make_plan(tiny_grid(longer={"train_steps": 5}), run).cells)
    assert [[each.cell.method.label for each in group] for group in groups.values()] == [
        ["plain", "sampling", "map"],
        ["longer"],
    ]


def test_the_grid_trains_four_models_for_a_data_set_and_a_seed(tmp_path: Path) -> None:
    grid = load_grid("diad-further")
    cells = make_plan(grid, RunDirectory(tmp_path / "run", must_exist=False)).cells
    groups = by_training(cells)
    assert len(groups) == 4 * len(grid.datasets) * len(grid.seeds)
    assert {group[0].cell.method.label for group in groups.values()} == {
        "diad",
        "paper sampling",
        "SFF as published",
        "autoencoder",
    }
    assert len({each.config["identity"] for each in cells}) == len(cells)


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.info.predicting])
def test_options_of_prediction_are_options_of_the_method(name: str) -> None:
    import inspect

    known = inspect.signature(get_class(name)).parameters
    info = CATALOG[name].info
    assert {*info.predicting, *info.technical, *dict(info.later)} <= set(known)
    for option, value in info.later:
        assert known[option].default == value
