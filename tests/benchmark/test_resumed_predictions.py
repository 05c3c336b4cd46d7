"""A cell killed while it predicts: fitted and loaded once, no image scored twice, the same results to the bit."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diadbench.benchmark.engines.base import Engine
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.planning.plan import Overwrite
from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.runs.runner import run_grid
from diadbench.datasets.samples import make_sample

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from forked import Forked
from real_run import InProcess

METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'counted_method.py'}:Counted"
#: Of an undisturbed cell: two classes of ten images.
BATCHES = 10


@pytest.fixture(scope="module")
def realiad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_sample("realiad", root, classes=["audiojack", "bottle_cap"], train=2, good=1, bad=1, size=48)
    return root


class Place:
    """A run directory, and what the method has counted there."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, data: Path) -> None:
        self.path, self._patch, self._data = path, patch, data
        path.mkdir()
        patch.setenv("DIADBENCH_CACHE", str(path.parent / "cache"))

    def run(
        self,
        dies: str = "",
        signal: str = "SIGKILL",
        overwrite: Overwrite = "failed",
        engine: type[Engine] = Forked,
        **changes: Any,
    ) -> CellRecord:
        self._patch.setenv("COUNTED_METHOD_LOG", str(self.path / "log"))
        self._patch.setenv("COUNTED_METHOD_DIES", dies)
        self._patch.setenv("COUNTED_METHOD_SIGNAL", signal)
        grid = {
            "name": "small",
            "methods": {"counted": {"method": METHOD}},
            "datasets": {"real": {"dataset": "realiad", "root": str(self._data)}},
            "image_size": 32,
            "batch_size": 2,
            "threads": 1,
            "device": "cpu",
            "keep_maps": "float16",
            **changes,
        }
        run = run_grid(parse_grid(grid), self.path / "run", overwrite=overwrite, engine=engine(), quiet=True)
        [key] = run.states
        return run.directory.cell(*key)

    def counted(self) -> Counter[str]:
        return Counter(line.split()[0] for line in (self.path / "log").read_text(encoding="utf-8").splitlines())

    def twice(self) -> list[str]:
        lines = [line for line in (self.path / "log").read_text(encoding="utf-8").splitlines() if line[:6] == "image "]
        return [line for line, times in Counter(lines).items() if times > 1]


def assert_same(cell: CellRecord, calm: CellRecord) -> None:
    """All that a cell keeps is what an undisturbed one keeps, to the last bit."""
    assert (cell.state, calm.state) == ("done", "done")
    assert (cell.directory / "metrics.csv").read_bytes() == (calm.directory / "metrics.csv").read_bytes()
    scores = [pd.read_parquet(each.directory / "scores.parquet") for each in (cell, calm)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    for name in ("curves.npz", *(path.relative_to(calm.directory) for path in calm.directory.glob("gallery/*.npz"))):
        arrays = [dict(np.load(each.directory / name)) for each in (cell, calm)]
        assert arrays[0].keys() == arrays[1].keys(), name
        assert all((arrays[0][key] == arrays[1][key]).all() for key in arrays[0]), name
    for path in calm.directory.glob("maps/*"):
        assert (cell.directory / "maps" / path.name).read_bytes() == path.read_bytes()
    index = [(each.directory / "gallery" / "index.json").read_text(encoding="utf-8") for each in (cell, calm)]
    assert index[0] == index[1]
    for key in ("notes", "extras", "parameters", "kept_maps"):
        assert cell.status[key] == calm.status[key], key
    assert not (cell.directory / "scored").exists()


@pytest.fixture(scope="module")
def calm(realiad: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CellRecord]:
    """Undisturbed cells, by their setting. They run in this process: what it has imported and compiled, forks have."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("calm")
        return {
            setting: Place(place / setting, patch, realiad).run(engine=InProcess, settings=[setting])
            for setting in ("multi-class", "one-per-class")
        }


def test_killed_at_several_batches(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    deaths = [1, 3, 6, 13]  # counted over all processes: in the first batch, in each class, in the last batch
    for last, dies in enumerate(deaths, 1):
        cell = place.run(",".join(map(str, deaths)), "SIGTERM" if dies == 3 else "SIGKILL")
        assert cell.state == "killed"
        assert place.counted()["load"] == last - 1
        if dies == 3:
            assert cell.status["reason"].startswith("ended by SIGTERM")
    cell = place.run(",".join(map(str, deaths)))
    assert place.counted()["fit"] == 1
    assert place.counted()["load"] == len(deaths), "once a process"
    assert place.counted()["images"] == BATCHES
    assert place.twice() == []
    assert cell.status["resumed"]
    assert {"said in fit", "said in predict"} <= set(cell.status["notes"])
    assert_same(cell, calm["multi-class"])
    assert any("s_auroc" in line for line in (cell.directory / "metrics.csv").read_text().splitlines())


def test_a_model_that_was_scored_to_its_end_is_not_even_loaded(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    place.run(str(BATCHES), settings=["one-per-class"])
    cell = place.run(settings=["one-per-class"])
    assert place.counted()["fit"] == 2
    assert place.counted()["load"] == 1, "the last model alone has images left"
    assert place.twice() == []
    assert_same(cell, calm["one-per-class"])


def test_a_broken_model_is_fitted_again_and_scores_everything_again(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    cell = place.run("5,6")
    for path in (cell.directory / "checkpoint").rglob("mean.pt"):
        path.write_bytes(b"torn")
    scored = list((cell.directory / "scored").rglob("*.npz"))
    assert len(scored) > 2
    cell = place.run("5,6")  # killed in the very first batch of the second model
    assert place.counted()["fit"] == 2
    assert [path.name for path in (cell.directory / "scored").rglob("*.npz")] == ["start.npz"]
    cell = place.run()
    assert place.counted()["fit"] == 2
    [note] = [note for note in cell.status["notes"] if "could not be loaded" in note]
    assert "fitted again" in note
    assert (cell.directory / "metrics.csv").read_bytes() == (calm["multi-class"].directory / "metrics.csv").read_bytes()


def test_torn_and_lost_files_of_a_killed_cell_cost_their_images_alone(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    cell = place.run("4")
    torn = sorted((cell.directory / "scored").rglob("batch-*.npz"))[-1]
    torn.write_bytes(torn.read_bytes()[:-200])
    cell = place.run()
    assert place.counted()["fit"] == 1
    assert len(place.twice()) == 2, "the images of the torn batch"
    assert_same(cell, calm["multi-class"])


def test_what_is_no_part_of_the_identity_may_change_meanwhile(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protocol, kept maps and batch: a class that was over is scored again where its metrics or maps are others."""
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    place.run("3", keep_maps="none", protocol="uniad", batch_size=5)  # in the first batch of the second class
    cell = place.run(batch_size=3)
    assert place.counted()["fit"] == 1
    assert len(place.twice()) == 10, "the first class was scored under another protocol"
    assert {path.name for path in (cell.directory / "maps").iterdir()} == {
        path.name for path in (calm["multi-class"].directory / "maps").iterdir()
    }
    assert cell.status["kept_maps"]["dtype"] == "float16"
    assert cell.status["protocol"] == "exact"


def test_what_another_configuration_left_is_not_used(
    realiad: Path, calm: dict[str, CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "stormy", monkeypatch, realiad)
    place.run("4")
    other = {"counted": {"method": METHOD, "options": {"level": 2.0}}}
    cell = place.run(methods=other)
    assert (place.counted()["fit"], place.counted()["load"]) == (2, 0)
    done = cell.status["finished"]
    assert (cell.directory / "checkpoint").is_dir()
    assert place.run(methods=other, overwrite="always").status["finished"] > done
    assert place.counted()["fit"] == 3, "what is run again although it was done goes on with nothing"
