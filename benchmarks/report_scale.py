"""Time and memory of a report of 6 datasets x 40 methods x 3 seeds, and of one `table` call on it (all synthetic)."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_run import make_run

CLASSES = {"mvtec": 15, "visa": 12, "realiad": 30, "unimedical": 3, "coco_ad": 4, "mvtec3d": 10}


def measure(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and peak memory in MiB."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "diadbench", *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, after.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=3, help="gallery images a class")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = ["DiAD", "UniAD", "PatchCore", "DRAEM", *(f"method {n:02d}" for n in range(5, 1 + options.methods))]
        datasets = {name: [f"class {n:02d}" for n in range(count)] for name, count in CLASSES.items()}
        run = make_run(
            Path(folder) / "scale", methods=names[: options.methods], datasets=datasets,
            seeds=range(options.seeds), pictures=options.pictures,
        )  # fmt: skip
        small = ["table", str(run.path), "--rows", "method", "--columns", "dataset", "--metrics", "i_auroc,p_ap"]
        for name, words in (("table", small), ("report", ["report", str(run.path)])):
            wall, cpu, peak = measure(words)
            print(f"{name:<8}{wall:7.1f} s wall{cpu:7.1f} s CPU{peak:8.0f} MiB peak", flush=True)


if __name__ == "__main__":
    main()
