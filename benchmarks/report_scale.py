"""Time and memory of a report of 6 datasets x 40 methods x 3 seeds (copies of real cells), and of one `table` call."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from real_run import make_run
from scaled_run import make_scaled

from diadbench.common.systems import resident_bytes

try:
    import resource
except ImportError:
    raise SystemExit("benchmarks/report_scale.py needs the module resource; Windows lacks it: use WSL 2") from None

CLASSES = {"mvtec": 15, "visa": 12, "realiad": 30, "unimedical": 3, "coco_ad": 4, "mvtec3d": 10}


def measure(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and peak memory in MiB."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "diadbench", *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, resident_bytes(after.ru_maxrss) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=16, help="test images a class")
    parser.add_argument("--size", type=int, default=64, help="side of the images in the gallery")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIADBENCH_CACHE"] = str(Path(folder) / "cache")
        names = ["DiAD", "UniAD", "PatchCore", "DRAEM", *(f"method {n:02d}" for n in range(5, 1 + options.methods))]
        datasets = {name: [f"class {n:02d}" for n in range(count)] for name, count in CLASSES.items()}
        real = make_run(
            Path(folder) / "real", methods=names[:4], datasets=datasets, seeds=(0,), trains="UniAD",
            images=options.images, image_size=options.size,
        )  # fmt: skip
        run = make_scaled(
            Path(folder) / "scale", real, methods=names[: options.methods],
            datasets={name: name for name in datasets}, seeds=range(options.seeds),
        )  # fmt: skip
        small = ["table", str(run.path), "--rows", "method", "--columns", "dataset", "--metrics", "i_auroc,p_ap"]
        for name, words in (("table", small), ("report", ["report", str(run.path)])):
            wall, cpu, peak = measure(words)
            print(f"{name:<8}{wall:7.1f} s wall{cpu:7.1f} s CPU{peak:8.0f} MiB peak", flush=True)


if __name__ == "__main__":
    main()
