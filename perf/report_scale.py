"""Time and memory of a report of 6 datasets x 40 methods x 3 seeds (copies of real cells), and of one `table` call."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = {"mvtec": 15, "visa": 12, "realiad": 30, "unimedical": 3, "coco_ad": 4, "mvtec3d": 10}


def measure(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and peak resident memory in MiB, of this command alone."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "diadbench", *words], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"diadbench {' '.join(words)}: failed")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def make(folder: Path, options: argparse.Namespace) -> None:
    """Write the run directory: a process of its own, as a command's peak memory counts what its parent held."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
    from real_run import make_run
    from scaled_run import make_scaled

    os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
    names = ["DiAD", "UniAD", "PatchCore", "DRAEM", *(f"method {n:02d}" for n in range(5, 1 + options.methods))]
    datasets = {name: [f"class {n:02d}" for n in range(count)] for name, count in CLASSES.items()}
    real = make_run(
        folder / "real", methods=names[:4], datasets=datasets, seeds=(0,), trains="UniAD",
        images=options.images, image_size=options.size,
    )  # fmt: skip
    make_scaled(
        folder / "scale", real, methods=names[: options.methods],
        datasets={name: name for name in datasets}, seeds=range(options.seeds),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=16, help="test images a class")
    parser.add_argument("--size", type=int, default=64, help="side of the images in the gallery")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(Path(folder), options))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the run directory was not made")
        run = Path(folder) / "scale"
        small = ["table", str(run), "--rows", "method", "--columns", "dataset", "--metrics", "i_auroc,p_ap"]
        for name, words in (("table", small), ("report", ["report", str(run)])):
            wall, cpu, peak = measure(words)
            print(f"{name:<8}{wall:7.1f} s wall{cpu:7.1f} s CPU{peak:8.0f} MiB peak", flush=True)


if __name__ == "__main__":
    main()
