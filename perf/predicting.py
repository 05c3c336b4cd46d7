"""Time and memory of `diadbench predict` on many images, ended by SIGKILL half way and started again."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


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
        pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{place:06d}.png", compress_level=1)


def predict(folder: Path, kill_at: int = 0) -> tuple[int, float, float]:
    """Predict; return the exit status, wall seconds and peak memory in MiB. ``kill_at``: SIGKILL at so many maps."""
    start = time.perf_counter()
    words = ["predict", str(folder / "run"), "--images", str(folder / "photos"), "--out", str(folder / "found")]
    process = subprocess.Popen([sys.executable, "-m", "diadbench", *words], stdout=subprocess.DEVNULL)
    journal = folder / "found" / "predictions.jsonl"
    while kill_at and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") >= kill_at:
            process.kill()
            break
        time.sleep(0.5)
    _, code, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(code), time.perf_counter() - start, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256, help="side of the maps")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder, options.images, options.size))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the run was not made")
        for what, kill_at, expected in (("killed half way", options.images // 2, -9), ("gone on", 0, 0)):
            code, wall, peak = predict(folder, kill_at)
            if code != expected:
                raise SystemExit(f"{what}: exit status {code}, expected {expected}")
            print(f"{what:<16}{wall:7.1f} s{peak:8.0f} MiB peak", flush=True)
        with open(folder / "found" / "scores.csv", encoding="utf-8") as table:
            rows = sum(1 for _ in table) - 1
        pictures = len(list((folder / "found" / "overlays").iterdir()))
        print(f"{rows:,} rows, {pictures:,} overlays")


if __name__ == "__main__":
    main()
