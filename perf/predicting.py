"""Time and memory of `diadbench predict` on many images, ended by SIGKILL half way and while it paints, and gone on.

Each try is a process of its own. At the end every image has one row, one map and two pictures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from watched import watched


def make(folder: Path, count: int, size: int) -> None:
    """Write a real run and the images: a process of its own, as a command's peak memory counts what its parent held."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import numpy as np
    from PIL import Image

    from tests.helpers.real_run import make_run

    os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
    make_run(folder / "run", methods=["One"], datasets={"parts": ["nut"]}, seeds=[0], image_size=size)
    generator = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for place in range(count):
        rough = Image.fromarray(generator.integers(40, 215, (9, 9, 3), dtype=np.uint8))
        photo = rough.resize((size, size), Image.Resampling.BICUBIC)
        photo.save(folder / "photos" / f"{place:06d}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256, help="side of the maps and of the images")
    parser.add_argument("--folder", type=Path, help="directory for the data; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder, options.images, options.size))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the run was not made")
        found, half = folder / "found", options.images // 2
        words = ["predict", str(folder / "run"), "--images", str(folder / "photos"), "--out", str(found)]
        journal = found / "predictions.jsonl"
        tries = (
            ("killed half way", lambda: _lines(journal) >= half),
            ("killed painting", lambda: _count(found / "overlays") >= half),
            ("gone on", None),
        )
        print(f"{options.images:,} images of {options.size}x{options.size}   (wanted: below 2000 MiB)", flush=True)
        for what, kill_when in tries:
            before = _lines(journal), _count(found / "overlays")
            done = watched(words, kill_when, every=1.0)
            if done.code != (-9 if kill_when else 0):
                raise SystemExit(f"{what}: exit status {done.code}")
            print(f"{what:<16}{done}   (before: {before[0]:,} maps, {before[1]:,} overlays)", flush=True)
        with open(found / "scores.csv", encoding="utf-8") as table:
            rows = sum(1 for _ in table) - 1
        print(f"{rows:,} rows, {_count(found / 'maps'):,} files in maps, {_count(found / 'overlays'):,} overlays")


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _count(folder: Path) -> int:
    return sum(not entry.name.startswith(".") for entry in os.scandir(folder)) if folder.is_dir() else 0


if __name__ == "__main__":
    main()
