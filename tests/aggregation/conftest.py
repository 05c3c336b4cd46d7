"""Real cells, made in this process so that dozens of them take seconds: real planner, runner, worker and evaluator."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diadbench.benchmark.cells import worker
from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.runner import run_grid

METHOD = '''
import torch
from diadbench.methods.base import Method, MethodInfo, Prediction

class Noisy(Method):
    """Distance to grey, with noise that the seed decides."""

    info = MethodInfo("noisy", "Noisy", "Distance to grey, with noise.", batch_invariant=True)

    def __init__(self, noise: float = 0.5, scale: float = 1.0) -> None:
        self.noise, self.scale = noise, scale

    def fit(self, train, run):
        self.level = torch.rand(1) * self.noise

    def predict(self, images):
        maps = ((images.mean(1) - 0.4).abs() + torch.rand(images.shape[0], *images.shape[2:]) * self.level) * self.scale
        return Prediction(maps, maps.amax((1, 2)))

    def save(self, directory):
        torch.save(self.level, directory / "level.pt")

    def load(self, directory, run):
        self.level = torch.load(directory / "level.pt")
'''


class InThisProcess(Engine):
    """An engine that runs each cell at once, in this process; signal handlers and threads are put back."""

    def __init__(self) -> None:
        self._ended: list[Outcome] = []

    def submit(self, job: Job) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        threads = torch.get_num_threads()
        try:
            worker.main([str(job.cell), "--since", str(job.since), "--threads", str(job.threads)])
        finally:
            torch.set_num_threads(threads)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self.end(job)

    def end(self, job: Job) -> None:
        """Take a cell as ended whose files another one has made."""
        self._ended.append(Outcome(job, "ended"))

    def poll(self) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Nothing is left to cancel."""


def write_images(root: Path, classes: tuple[str, ...], seed: int = 0) -> Path:
    """Write a small data set in MVTec-AD's layout: noise, with a brighter square where it is broken."""
    generator = np.random.default_rng(seed)
    for name in classes:
        for folder, count in (("train/good", 2), ("test/good", 3), ("test/hole", 4)):
            for place in range(count):
                pixels = generator.integers(70, 130, (32, 32, 3), dtype=np.uint8)
                mask = np.zeros((32, 32), np.uint8)
                if folder == "test/hole":
                    mask[8:16, 6 + place : 14 + place] = 255
                    pixels[mask > 0] = generator.integers(120, 160)
                    truth = root / name / "ground_truth" / "hole" / f"{place:03d}_mask.png"
                    truth.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(truth)
                target = root / name / folder / f"{place:03d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(target)
    return root


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes; one of them is called as the mean over classes is."""
    return write_images(tmp_path_factory.mktemp("data"), ("bolt", "mean", "nut"))


@pytest.fixture(scope="session")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classes and files, other pixels."""
    return write_images(tmp_path_factory.mktemp("other"), ("bolt", "mean", "nut"), seed=1)


@pytest.fixture(scope="session")
def method(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("method") / "noisy.py"
    path.write_text(METHOD)
    return f"{path}:Noisy"


@pytest.fixture(scope="session")
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _places(_shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(_shared_cache))
    monkeypatch.setenv("DIADBENCH_PUBLISHED", str(_shared_cache / "published.csv"))


@pytest.fixture(scope="session")
def engine() -> Callable[[], InThisProcess]:
    return InThisProcess


@pytest.fixture
def run(data: Path, method: str) -> Callable[..., RunDirectory]:
    """Return a function that runs a small grid in a directory and returns the run directory."""

    def run(
        out: Path,
        *,
        seeds: tuple[int, ...] = (0,),
        options: dict[str, Any] | None = None,
        root: Path = data,
        data_options: dict[str, Any] | None = None,
        methods: dict[str, Any] | None = None,
        **changes: Any,
    ) -> RunDirectory:
        grid = {
            "name": "small",
            "methods": methods or {"noisy": {"method": method, "options": options or {}}},
            "datasets": {"parts": {"dataset": "folder", "root": str(root), "options": data_options or {}}},
            "seeds": list(seeds),
            "image_size": 32,
            "threads": 1,
            "device": "cpu",
            **changes,
        }
        found = run_grid(parse_grid(grid), out, engine=InThisProcess(), quiet=True)
        assert set(found.states.values()) == {"done"}, [record.status for record in found.directory.cells()]
        return found.directory

    return run
