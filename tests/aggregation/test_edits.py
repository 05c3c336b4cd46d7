"""A storm of edits of a grid: after each, every mean over seeds is the one computed by hand from metrics.csv."""

from __future__ import annotations

import csv
import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import CellRecord, RunDirectory, load_results
from diadbench.benchmark.runs.runner import run_grid
from diadbench.reports import aggregate, prepare
from diadbench.reports.tables.source import Source

Edit = tuple[str, Any]
EDITS: list[Edit] = [
    *(("noise", value) for value in (0.2, 0.5, 0.8)),
    *(("scale", value) for value in (1.0, 2.0)),
    *(("root", place) for place in (0, 1)),
    *(("classes", value) for value in (None, ["bolt"], ["nut", "mean"])),
    *(("seeds", value) for value in ([0], [1, 0], [0, 1, 2], [2])),
    *(("method label", value) for value in ("noisy", "Noisy", "other (noise=0.2)")),
    *(("data label", value) for value in ("parts", "mean")),
    *(("setting", value) for value in (["multi-class"], ["one-per-class", "multi-class"])),
    *(("first", value) for value in ("steady", "edited")),
    *(("directory", value) for value in ("before/g", "after/g", "after/h")),
    *(("copy", value) for value in ("copy/g", "h")),
    *(("link", value) for value in ("latest", "link/g")),
]
Figures = dict[tuple[str, ...], dict[int, float]]


class Remembering:
    """Runs a real cell once for each identity; the same cell elsewhere gets a copy of what the first one left."""

    def __init__(self, engine: Any, place: Path) -> None:
        self._engine, self._place = engine, place
        self.slots = 1

    def threads(self) -> int:
        return 1

    def share_out(self, gpus: int, named: int | None = None) -> None:
        self._engine.share_out(gpus, named)

    def submit(self, job: Job) -> None:
        known = self._place / str(CellRecord(job.cell).config["identity"])
        if known.is_dir():
            shutil.copytree(known, job.cell, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cell.yaml", ".lock"))
            self._engine.end(job)
            return
        self._engine.submit(job)
        assert CellRecord(job.cell).state == "done"
        shutil.copytree(job.cell, known)

    def poll(self) -> Any:
        return self._engine.poll()

    def __enter__(self) -> Remembering:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left to cancel."""


class Desk:
    """A grid that is edited again and again, and the run directories that it leaves."""

    def __init__(self, place: Path, roots: list[Path], method: str, engine: Any) -> None:
        self.place, self.roots, self.method, self.engine = place, roots, method, engine
        self.now: dict[str, Any] = {
            "noise": 0.5, "scale": 1.0, "root": 0, "classes": None, "seeds": [0], "method label": "noisy",
            "data label": "parts", "setting": ["multi-class"], "first": "edited", "directory": "before/g",
        }  # fmt: skip

    def edit(self, kind: str, value: Any) -> None:
        """Change one thing, and run what has to run."""
        if kind == "copy":
            if not (self.place / value).exists():
                shutil.copytree(self.place / self.now["directory"], self.place / value)
        elif kind == "link":
            link = self.place / value
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(self.place / self.now["directory"], target_is_directory=True)
        else:
            self.now[kind] = value
            self.run()

    def run(self) -> None:
        now = self.now
        edited = {"method": self.method, "options": {"noise": now["noise"], "scale": now["scale"]}}
        entries = {now["method label"]: edited, "steady": {"method": self.method, "options": {"noise": 0.3}}}
        if now["first"] == "steady":
            entries = dict(reversed(entries.items()))
        data = {"dataset": "folder", "root": str(self.roots[now["root"]]), "options": {"classes": now["classes"]}}
        grid = {"methods": entries, "datasets": {now["data label"]: data}, "seeds": now["seeds"], "threads": 1,
                "settings": now["setting"], "image_size": 32, "device": "cpu", "name": "storm"}  # fmt: skip
        found = run_grid(parse_grid(grid), self.place / now["directory"], engine=self.engine, quiet=True)
        assert set(found.states.values()) == {"done"}

    def runs(self) -> list[Path]:
        """All run directories, by whatever path leads to them."""
        return [path.parent for depth in ("*", "*/*") for path in sorted(self.place.glob(f"{depth}/grid.yaml"))]


def by_hand(paths: list[Path]) -> Figures:
    """Return ``{what the experiment is, class, metric: {seed: value}}`` from the cells' own files alone.

    Which cells a run has, and so shows, is what the store says.
    """
    found: Figures = {}
    for path in dict.fromkeys(path.resolve() for path in paths):
        run = RunDirectory(path)
        keys = ["dataset", "method", "setting", "seed"]
        for dataset, method, setting, seed in run.results()[keys].drop_duplicates().itertuples(index=False, name=None):
            cell = run.cell(dataset, method, setting, seed)
            made = cell.config
            options = made["method_options"]
            what = (dataset, method, setting, made["root"], str(made["dataset_options"]["classes"]),
                    str(options["noise"]), str(options["scale"]))  # fmt: skip
            with open(cell.directory / "metrics.csv", newline="") as file:
                for row in csv.DictReader(file):
                    key = (*what, row["class"], row["scope"], row["metric"])
                    value = float(row["value"] or "nan")
                    old = found.setdefault(key, {}).setdefault(seed, value)
                    assert old == value or (math.isnan(old) and math.isnan(value))
    return found


def check(paths: list[Path]) -> int:
    """Compare every mean, standard deviation and count with those by hand; return how many experiments there are."""
    hand = by_hand(paths)
    expected = []
    for (dataset, method, *_, name, scope, metric), values in hand.items():
        known = [value for value in values.values() if not math.isnan(value)]
        mean = statistics.fmean(known) if known else float("nan")
        spread = statistics.stdev(known) if len(known) > 1 else float("nan")
        expected.append((dataset, method, name, scope, metric, len(values), len(known), mean, spread))
    raw = load_results([*paths, paths[0]])
    results = prepare(raw)
    labels = results[["dataset", "method", "dataset_label", "method_label"]].drop_duplicates()
    assert not labels.duplicated(["dataset", "method"]).any()  # a printed name is of one label ...
    named = aggregate(results)
    assert not named.duplicated(["dataset", "method", "class", "scope", "metric"]).any()  # ... and one experiment
    for table, by_label in ((named.merge(labels, on=["dataset", "method"]), True), (aggregate(raw), False)):
        shown = table["class"].replace({"mean (class)": "mean"})
        columns = [table["dataset_label" if by_label else "dataset"], table["method_label" if by_label else "method"],
                   shown, *(table[key] for key in ("scope", "metric", "ran", "seeds", "value", "std"))]  # fmt: skip
        same(list(zip(*columns)), expected)
    experiments = {key[:-3] for key in hand}
    assert len(named[["dataset", "method"]].drop_duplicates()) == len(experiments)
    return len(experiments)


def same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Compare rows without their order; figures to 1e-12."""
    order = lambda row: tuple(round(part, 9) if part == part else -1 for part in row[5:])  # noqa: E731
    rows = [sorted(rows, key=lambda row: (row[:5], order(row))) for rows in (found, expected)]
    assert [row[:7] for row in rows[0]] == [row[:7] for row in rows[1]]
    for one, other in zip(*rows):
        assert one[7:] == pytest.approx(other[7:], abs=1e-12, nan_ok=True), (one, other)


@pytest.fixture(scope="module")
def storm(
    data: Path, other_data: Path, method: str, engine: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[list[Edit]], int]:
    """Return a function that makes edits in a fresh place, checks after each, and says how many experiments it saw."""
    known = tmp_path_factory.mktemp("known")

    def rage(edits: list[Edit]) -> int:
        with tempfile.TemporaryDirectory() as place:
            desk = Desk(Path(place), [data, other_data], method, Remembering(engine(), known))
            desk.run()
            for kind, value in edits:
                desk.edit(kind, value)
                count = check(desk.runs())
            Source.load(desk.runs())  # the same from results.csv
            return count

    return rage


QUIET = {
    "deadline": None,
    "phases": [Phase.generate],
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
}


@settings(max_examples=1, **QUIET)  # type: ignore[arg-type]
@given(st.permutations(EDITS))
def test_each_edit_once(storm: Callable[[list[Edit]], int], edits: list[Edit]) -> None:
    assert storm(edits) > 3


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("DIADBENCH_EDIT_STORMS", "4")), **QUIET)  # type: ignore[arg-type]
@given(st.lists(st.sampled_from(EDITS), min_size=50, max_size=50))
def test_a_storm_of_two_hundred_edits(storm: Callable[[list[Edit]], int], edits: list[Edit]) -> None:
    assert storm(edits) >= 2  # two methods, at the least
