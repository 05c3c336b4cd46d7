"""Run directories for tests of reports: small grids of cheap methods on drawn images, really run, in this process."""

from __future__ import annotations

import contextlib
import random
import signal
import unittest.mock
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diadbench.benchmark import engines
from diadbench.benchmark.cells import worker
from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.runner import run_grid
from diadbench.common.processes import interrupt

HERE = Path(__file__).resolve().parent
CLASSES = ("First", "Second", "Third", "Fourth")
SIDE = 32
METHODS = ("DiAD", "UniAD", "PatchCore", "DRAEM", "padim")
DATASETS = {
    "mvtec": ["bottle", "cable", "capsule", "carpet", "grid", "tile", "wood"],
    "visa": ["candle", "cashew", "chewinggum", "fryum", "pcb1", "pcb2"],
    "elpv": ["mono", "poly"],
}


class InProcess(Engine):
    """Calls the worker of each cell here, so that a cell costs no start of Python. Output goes to the cell's log."""

    def __init__(self) -> None:
        self._ended: list[Outcome] = []

    def submit(self, job: Job) -> None:
        """Run the job to its end."""
        assert job.time_limit is None, "a cell in this process can't be ended: its time limit would mean nothing"
        assert job.memory_limit is None, "the memory of this process is not the cell's alone"
        words = [str(job.cell.absolute()), "--since", repr(job.since), "--threads", "1"]
        with (
            open(job.cell / "log.txt", "a") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
            _unchanged(),
        ):
            code = worker.main(words)
        self._ended.append(Outcome(job, "ended" if code == worker.EXIT_ENDED else "busy"))

    def poll(self) -> list[Outcome]:
        """Return what has run since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Nothing runs between two calls."""


@contextlib.contextmanager
def local_engine_in_process() -> Iterator[None]:
    """Let grids run on :class:`InProcess` where they name the engine ``local``, or none."""
    make = engines.make

    def made(name: str, **options: Any) -> Engine:
        engine = make(name, **options)  # a wrong option is refused as ever
        return InProcess() if name == "local" else engine

    with unittest.mock.patch.object(engines, "make", made):
        yield


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Put back what a cell sets for its whole process: seeds, threads, determinism, the answer to SIGTERM."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    handlers = {number: signal.getsignal(number) for number in interrupt.POLITE}
    installed = interrupt._State.installed
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        interrupt._State.installed = installed
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])
        torch.set_num_threads(state[3])
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


def write_images(root: Path, classes: Sequence[str], images: int, undefined: Sequence[str] = ()) -> None:
    """Draw a dataset in MVTec-AD's layout: noise, and squares that differ more or less from it.

    Args:
        root: Where to.
        classes: Names of the classes.
        images: Test images a class; half of them are anomalous.
        undefined: Classes without an anomalous test image.
    """
    generator = np.random.default_rng(len(classes))
    for place, name in enumerate(classes):
        bad = 0 if name in undefined else images // 2
        for folder, count in (("train/good", 3), ("test/good", images - images // 2), ("test/hole", bad)):
            for number in range(count):
                pixels = generator.integers(60, 90 + 10 * (place % 5), (SIDE, SIDE, 3), dtype=np.uint8)
                if folder == "test/hole":
                    mask = np.zeros((SIDE, SIDE), np.uint8)
                    y, x = generator.integers(2, SIDE - 12, 2)
                    mask[y : y + 9, x : x + 5 + number % 5] = 255
                    pixels[mask > 0] += np.uint8(10 + generator.integers(0, 60))
                    _save(root / name / "ground_truth" / "hole" / f"{number:03d}_mask.png", mask)
                _save(root / name / folder / f"{number:03d}.png", pixels)


def _save(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_run(
    path: Path | str,
    *,
    methods: Sequence[str] = METHODS,
    datasets: Mapping[str, Sequence[str]] = DATASETS,
    seeds: Sequence[int] = (0, 1, 2),
    without_masks: Sequence[str] = (),
    undefined: Mapping[str, Sequence[str]] | None = None,
    ends: Mapping[tuple[str, str, int], dict[str, str]] | None = None,
    notes: Mapping[str, str] | None = None,
    trains: str = "",
    images: int = 16,
    **grid: Any,
) -> RunDirectory:
    """Run a small grid.

    Args:
        path: The run directory; the images are drawn beside it.
        methods: Labels; the first four cite papers, the first also gives reconstructions.
        datasets: ``{label: classes}``.
        seeds: Seeds of the cells.
        without_masks: Datasets whose pixel and region metrics are undefined.
        undefined: ``{dataset: classes}`` without an anomalous test image.
        ends: ``{(dataset, method, seed): options}`` of cells that end otherwise: ``raises``, ``exhausts`` or ``skips``.
        notes: ``{method: note}``.
        trains: Label of the method that is trained by gradient.
        images: Test images a class.
        **grid: Other keys of the grid.
    """
    path = Path(path)
    found: dict[str, Any] = {}
    for place, label in enumerate(methods):
        said = f"{label} fits\n<script>alert(1)</script>"
        options: dict[str, Any] = {"noise": 0.04 + 0.03 * place, "rebuilds": place == 0, "says": said}
        options |= {"note": notes[label]} if notes and label in notes else {}
        name = CLASSES[place] if place < len(CLASSES) else "NoisyMean"
        found[label] = {"method": f"{HERE / 'noisy_mean.py'}:{name}", "options": options}
        if label == trains:
            found[label] = {"method": f"{HERE / 'small_net.py'}:SmallNet", "options": {"steps": 12}}
    for (dataset, label, seed), end in (ends or {}).items():
        found[label].setdefault("by_dataset", {})[dataset] = {**end, "only_seed": seed}
    sets: dict[str, Any] = {}
    for number, (label, classes) in enumerate(datasets.items()):
        root = path.parent / f"{path.name} images" / str(number)
        write_images(root, classes, images, (undefined or {}).get(label, ()))
        options = {"masks": label not in without_masks, "title": label, "classes": list(classes)}
        sets[label] = {"dataset": "folder", "root": str(root), "options": options}
    values = {"image_size": SIDE, "threads": 1, "device": "cpu", **grid}
    checked = parse_grid({"name": path.name, "methods": found, "datasets": sets, "seeds": list(seeds), **values})
    with unittest.mock.patch("os.fsync"):  # thousands of them take longer than the cells, and nobody pulls the plug
        run_grid(checked, path, engine=InProcess(), quiet=True)
    return RunDirectory(path)
