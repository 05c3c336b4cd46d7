"""What a storm does to a running grid, and what must hold when it is over."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import yaml
from PIL import Image

from diadbench.benchmark.records.store import RunDirectory, load_results

CHEAP = Path(__file__).with_name("cheap")
#: A method that a user might bring, in real cells; and cells without torch, which start in a tenth of the time.
REAL_METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'pixel_mean.py'}:PixelMean"
CHEAP_METHOD = f"{CHEAP / 'storm_method.py'}:StormMethod"
COMPARED = ["dataset", "method", "setting", "seed", "class", "scope", "metric", "value", "state"]


def write_data(root: Path) -> Path:
    """A folder dataset of a few small noisy images, some with a bright square."""
    generator = np.random.default_rng(0)
    for folder, count in (("train/good", 6), ("test/good", 4), ("test/hole", 4)):
        for place in range(count):
            pixels = generator.integers(90, 120, (40, 40, 3), dtype=np.uint8)
            mask = np.zeros((40, 40), dtype=np.uint8)
            if folder == "test/hole":
                mask[8:18, 10:20] = 255
                pixels[mask > 0] = 128 + place
                truth = root / "thing" / "ground_truth" / "hole" / f"{place:03d}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(truth)
            target = root / "thing" / folder / f"{place:03d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    return root


class Weather:
    """A grid under storms: its directories, its runners, and what was seen of its results.

    Args:
        place: Temporary directory.
        disk: Where the run directory and the cache lie; a small tmpfs when it could be mounted.
        cells: Number of cells.
        cheap: Cells without torch.
        more: Further keys of the grid (engine, ...).
    """

    def __init__(self, place: Path, disk: Path, cells: int, *, cheap: bool, **more: Any) -> None:
        self.disk = disk
        self.run = disk / "run"
        self.calm_run = place / "calm"
        methods = {
            f"m{number}": {
                "method": CHEAP_METHOD if cheap else REAL_METHOD,
                "options": {"scale": 1.1 + number, "seconds": 0.5},
            }
            for number in range(cells // 5)
        }
        grid = {
            "methods": methods,
            "datasets": {"thing": {"dataset": "folder", "root": str(write_data(place / "data"))}},
            "seeds": list(range(5)),
            "image_size": 32,
            "threads": 1,
            "device": "cpu",
            "jobs": 2,
        }
        self.calm_grid, self.grid = place / "calm.yaml", place / "grid.yaml"
        self.calm_grid.write_text(yaml.safe_dump(grid))
        self.grid.write_text(yaml.safe_dump({**grid, **more}))
        self.cells = cells
        self.environment = {**os.environ, "DIADBENCH_CACHE": str(disk / "cache")}
        if cheap:
            paths = [str(CHEAP), os.environ.get("PYTHONPATH")]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self.ray: Any = None
        self.background: Callable[[], None] | None = None
        self.runners: list[subprocess.Popen[bytes]] = []
        self.log = place / "runners.txt"
        self.seen: dict[str, float] = {}

    def on_ray(self, nodes: Any) -> None:
        """Let the stormy grid (the calm one not) run on this cluster's nodes."""
        self.ray = nodes
        grid = yaml.safe_load(self.grid.read_text())
        self.grid.write_text(yaml.safe_dump({**grid, "engine": "ray", "engine_options": {"address": nodes.address}}))

    # -- runners ------------------------------------------------------------------------------------------

    def start(self, grid: Path | None = None, run: Path | None = None, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "diadbench", "run", str(grid or self.grid)]
        command += ["--out", str(run or self.run), "--no-report", *more]
        with open(self.log, "ab") as log:
            # as from a terminal, so that SIGINT counts; it would be ignored where the tests run in the background
            runner = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, preexec_fn=self.background or hears_everything
            )
        self.runners.append(runner)
        return runner

    def active(self) -> list[subprocess.Popen[bytes]]:
        self.runners = [runner for runner in self.runners if runner.poll() is None]
        return self.runners

    def finish(self, tries: int = 8) -> int:
        """Run the same command until every cell is done; return how often that was."""
        for count in range(tries):
            for runner in self.active():
                runner.wait(timeout=300)
            self.look()
            if self.all_done():
                return count
            self.start()
        raise AssertionError(f"not done after {tries} runs: {self.states()}\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        for runner in self.active():
            runner.kill()
            runner.wait()

    # -- what is there --------------------------------------------------------------------------------------

    def processes(self, word: str) -> list[psutil.Process]:
        """Processes that have ``word`` and the run directory in their command line."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if word in line and str(self.run) in line:
                    found.append(process)
        return found

    def states(self) -> Counter[str]:
        return Counter(record.state for record in RunDirectory(self.run).cells())

    def all_done(self) -> bool:
        return (self.run / "grid.yaml").is_file() and self.states() == {"done": self.cells}

    def look(self) -> None:
        """A result that was there once must stay as it is."""
        for path in self.run.glob("cells/*/*/*/*/status.json"):
            with contextlib.suppress(OSError, ValueError):
                status = json.loads(path.read_text())
                if status["state"] == "done":
                    first = self.seen.setdefault(str(path), status["finished"])
                    assert status["finished"] == first, f"{path}: ran to its end again"
        lost = [name for name in self.seen if not Path(name).is_file()]
        assert not lost, f"results lost: {lost}"

    def judge(self, calm: pd.DataFrame) -> None:
        """Everything is done, once, and equal to the calm run's results to the last bit."""
        self.look()
        assert self.all_done(), self.states()
        ends = {
            str(log): sum(line.startswith("diadbench: done") for line in log.read_text(errors="replace").splitlines())
            for log in self.run.glob("cells/*/*/*/*/log.txt")
        }
        assert len(ends) == self.cells
        assert max(ends.values()) <= 1, {log: count for log, count in ends.items() if count > 1}
        pd.testing.assert_frame_equal(results(self.run), calm, check_exact=True)

    def forget(self) -> None:
        """Begin again with an empty run directory; the cache stays."""
        self.stop()
        shutil.rmtree(self.run)
        self.seen = {}


def hears_everything() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def in_background() -> None:
    """As ``nohup ... &`` starts a process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def results(run: Path) -> pd.DataFrame:
    table = load_results(run)[COMPARED]
    return table.sort_values(COMPARED[:-2]).reset_index(drop=True)


# -- storms -------------------------------------------------------------------------------------------------

Storm = Callable[[Weather, random.Random], Any]


def kill_worker(weather: Weather, dice: random.Random) -> None:
    workers = weather.processes("diadbench.benchmark.cells.worker")
    for worker in dice.sample(workers, min(len(workers), dice.randint(1, 2))):
        with contextlib.suppress(psutil.Error):
            worker.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM]))


def kill_runner(weather: Weather, dice: random.Random) -> None:
    for runner in weather.active()[:1]:
        runner.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        runner.wait(timeout=60)


def second_runner(weather: Weather, dice: random.Random) -> None:
    if len(weather.active()) < 3:
        weather.start()


def fill_disk(weather: Weather, dice: random.Random) -> None:
    ballast = weather.disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), open(ballast, "ab", buffering=0) as file:
        while True:
            file.write(b"0")
    time.sleep(dice.uniform(0.5, 3))
    ballast.unlink()


def read_only(weather: Weather, dice: random.Random) -> None:
    """A mount over a directory, read-only, for a while."""
    cells = [path for path in weather.run.glob("cells/*/*/*/*") if path.is_dir()]
    target = dice.choice([*cells, weather.disk / "cache", weather.run / "cells"])
    if not target.is_dir():
        return
    for _ in range(50):  # fails while somebody writes below it
        subprocess.run(["mount", "--bind", target, target], check=True)
        made = subprocess.run(["mount", "-o", "remount,bind,ro", target], check=False, capture_output=True)
        if made.returncode == 0:
            time.sleep(dice.uniform(0.5, 3))
        subprocess.run(["umount", "-l", target], check=True)
        if made.returncode == 0:
            return
    raise AssertionError(f"{target} could not be made read-only")


def truncate_cache(weather: Weather, dice: random.Random) -> None:
    files = [path for path in (weather.disk / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1]
    if files:
        chosen = dice.choice(files)
        os.truncate(chosen, chosen.stat().st_size // 2)


ANYWHERE: tuple[Storm, ...] = (kill_worker, kill_runner, second_runner, truncate_cache)
AS_ROOT: tuple[Storm, ...] = (fill_disk, read_only)


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[tuple[Path, bool]]:
    """A tmpfs, where we may mount one; else a directory. Yields it and whether it is a disk of its own."""
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield disk, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def rage(weather: Weather, calm: pd.DataFrame, storms: tuple[Storm, ...], count: int, seed: int) -> Counter[str]:
    """Let ``count`` storms come over the grid, one kind after the other in random order; judge each grid that ends.

    Returns how many storms of each kind there were, and under ``grids`` how many grids were judged.
    """
    dice = random.Random(seed)
    told: Counter[str] = Counter()
    queue: list[Storm] = []
    while sum(told.values()) < count:
        if not weather.active():
            weather.look()
            if (weather.run / "grid.yaml").is_file() and weather.all_done():
                weather.judge(calm)
                weather.forget()
                told["grids"] += 1
                count += 1  # a judged grid is no storm
            weather.start()
        queue = queue or dice.sample(storms, len(storms))
        until = time.monotonic() + dice.uniform(0.3, 6)
        while time.monotonic() < until and weather.active():
            time.sleep(0.05)
        storm = queue.pop()
        storm(weather, dice)
        told[storm.__name__] += 1
        weather.look()
    weather.finish()
    weather.judge(calm)
    told["grids"] += 1
    return told
