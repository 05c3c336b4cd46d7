"""Time and memory of `diadbench evaluate` on many kept maps, ended by SIGKILL half way and gone on.

The maps are those of a cell that was really run on drawn images and kept them as float16.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from watched import watched


def make(folder: Path, count: int, classes: int, size: int) -> None:
    """Run a cell that keeps its maps; a process of its own, as a command's peak memory counts what its parent held."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import numpy as np
    from PIL import Image

    from diadbench.benchmark.planning.grid import parse_grid
    from diadbench.benchmark.runs.runner import run_grid
    from tests.helpers.real_run import InProcess

    os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
    generator, data = np.random.default_rng(0), folder / "data"
    for name in (f"class {number:02d}" for number in range(classes)):
        each = count // classes
        for kind, images in (("train/good", 2), ("test/good", each - each // 2), ("test/hole", each // 2)):
            (data / name / kind).mkdir(parents=True)
            for place in range(images):
                rough = generator.integers(40, 215, (9, 9, 3), dtype=np.uint8)
                photo = Image.fromarray(rough).resize((size, size), Image.Resampling.BICUBIC)
                photo.save(data / name / kind / f"{place:06d}.jpg", quality=90)
        mask = np.zeros((size, size), np.uint8)
        mask[size // 4 : size // 2, size // 4 : size // 2] = 255
        truth = data / name / "ground_truth" / "hole"
        truth.mkdir(parents=True)
        Image.fromarray(mask).save(truth / "000000_mask.png")
        for place in range(1, each // 2):
            os.link(truth / "000000_mask.png", truth / f"{place:06d}_mask.png")
    method = f"{Path(__file__).resolve().parents[1] / 'tests' / 'helpers' / 'pixel_mean.py'}:PixelMean"
    values = {"image_size": size, "threads": 1, "device": "cpu", "keep_maps": "float16", "batch_size": 32}
    grid = {"name": "maps", "methods": {"one": {"method": method}}, **values}
    found = run_grid(
        parse_grid({**grid, "datasets": {"parts": {"dataset": "folder", "root": str(data)}}}),
        folder / "run", engine=InProcess(), quiet=True,
    )  # fmt: skip
    if found.failed:
        raise SystemExit(str(next(iter(found.directory.cells())).status.get("reason")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--size", type=int, default=256, help="side of the maps")
    parser.add_argument("--protocol", default="ader")
    parser.add_argument("--folder", type=Path, help="directory for the data; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        given = (folder, options.maps, options.classes, options.size)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=given)
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the run was not made")
        os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
        words = ["evaluate", str(folder / "run"), "--protocol", options.protocol, "--out", str(folder / "again")]
        half = options.classes // 2
        print(f"{options.maps:,} maps of {options.size}x{options.size}   (wanted: below 2000 MiB)", flush=True)
        for what, kill_when in (("killed half way", lambda: _classes(folder / "again") >= half), ("gone on", None)):
            before = _classes(folder / "again")
            done = watched(words, kill_when)
            if done.code != (-9 if kill_when else 0):
                raise SystemExit(f"{what}: exit status {done.code}")
            print(f"{what:<16}{done}   (before: {before} of {options.classes} classes)", flush=True)


def _classes(run: Path) -> int:
    return len(list(run.glob("cells/*/*/*/*/evaluating/*/*.npz")))


if __name__ == "__main__":
    main()
