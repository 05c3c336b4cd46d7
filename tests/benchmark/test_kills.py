"""SIGKILL at random moments, parent or child: the same command finishes, and runs nothing twice that was done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from PIL import Image

from diadbench.benchmark.records.store import RunDirectory, load_results

METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'pixel_mean.py'}:PixelMean"
COLUMNS = ["dataset", "method", "setting", "seed", "class", "scope", "metric", "value"]


def write_data(root: Path) -> Path:
    for folder, count in (("train/good", 5), ("test/good", 3), ("test/dot", 3)):
        for place in range(count):
            image = Image.effect_noise((40, 40), 30 + place).convert("RGB")
            mask = Image.new("L", (40, 40))
            if folder == "test/dot":
                image.paste((255, 0, 0), (5, 5, 15, 15))
                mask.paste(255, (5, 5, 15, 15))
            target = root / "thing" / folder / f"{place:03d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target)
            if folder == "test/dot":
                truth = root / "thing/ground_truth/dot" / f"{place:03d}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                mask.save(truth)
    return root


class Trial:
    """One grid, started, killed and finished."""

    def __init__(self, place: Path, data: Path, cells: int) -> None:
        self.run = place / "run"
        self.log = place / "log"
        methods = {f"m{n}": {"method": METHOD, "options": {"scale": 1.0 + n, "seconds": 0.5}} for n in range(cells)}
        grid = {
            "methods": methods,
            "datasets": {"thing": {"dataset": "folder", "root": str(data)}},
            "image_size": 32,
            "threads": 1,
            "device": "cpu",
            "jobs": 2,
        }
        self.grid = place / "grid.yaml"
        self.grid.write_text(yaml.safe_dump(grid))
        self.environment = {
            **os.environ,
            "DIADBENCH_CACHE": str(place / "cache"),
            "DIADBENCH_TEST_LOG": str(self.log),
        }

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-P",
            "-m",
            "diadbench",
            "run",
            str(self.grid),
            "--out",
            str(self.run),
            "--no-report",
        ]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def finish(self) -> None:
        assert self.start().wait(timeout=240) == 0

    def done(self) -> dict[Path, float]:
        """When each cell that is done was finished."""
        if not (self.run / "grid.yaml").is_file():
            return {}
        cells = RunDirectory(self.run).cells()
        return {cell.directory: cell.status["finished"] for cell in cells if cell.state == "done"}


def kill(process: subprocess.Popen[bytes], what: str, generator: random.Random) -> None:
    """SIGKILL the runner, or one of its cells."""
    target = psutil.Process(process.pid)
    if what == "child":
        children = target.children(recursive=True)
        if not children:
            return
        target = generator.choice(children)
    try:
        os.kill(target.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def values(run: Path) -> pd.DataFrame:
    return load_results(run)[COLUMNS].sort_values(COLUMNS[:-1]).reset_index(drop=True)


def storm(place: Path, kills: int, cells: int, seed: int, longest: float) -> Counter[str]:
    """Kill a run again and again at random moments, finish it, and compare it with a calm one."""
    data = write_data(place / "data")
    (place / "calm").mkdir()
    calm = Trial(place / "calm", data, cells)
    calm.finish()
    generator = random.Random(seed)
    seen: Counter[str] = Counter()
    (place / "0").mkdir()
    trial, rounds = Trial(place / "0", data, cells), 0
    for _ in range(kills):
        before = trial.done()
        process = trial.start()
        time.sleep(generator.uniform(0.2, longest))
        what = generator.choice(["runner", "child"])
        kill(process, what, generator)
        process.wait(timeout=240)
        seen[what] += 1
        after = trial.done()
        assert before.items() <= after.items(), "a cell that was done has run again"
        if len(after) == cells:  # nothing left to disturb: compare, and begin a new run
            trial.finish()
            pd.testing.assert_frame_equal(values(trial.run), values(calm.run))
            rounds += 1
            (place / str(rounds)).mkdir()
            trial = Trial(place / str(rounds), data, cells)
    before = trial.done()
    for _ in range(3):  # children of a killed runner may hold their cell for a moment
        if trial.start().wait(timeout=240) == 0:
            break
    assert before.items() <= trial.done().items()
    pd.testing.assert_frame_equal(values(trial.run), values(calm.run))
    return seen


def test_one_kill(tmp_path: Path) -> None:
    assert sum(storm(tmp_path, kills=1, cells=1, seed=1, longest=6).values()) == 1


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    seen = storm(tmp_path, kills=20, cells=4, seed=int(time.time()), longest=10)
    print(f"kills survived: {dict(seen)}")
    assert sum(seen.values()) == 20
