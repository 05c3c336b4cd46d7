"""Time and memory of one's tools on a run of many cells: what the runner pays for each, and the commands that read it.

The run is real in its files: a small grid is run, its cells are copied for many methods and seeds, with the identities
that the large grid asks for. CPU time says more than wall time where others use the machine too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"
#: what a figure may be at 10,000 cells of 15 classes
LIMITS = {
    "status": (1, 0),
    "run": (4, 300),
    "table": (3, 0),
    "table by class": (0, 0),
    "report": (90, 1500),
}


def grid_of(options: argparse.Namespace, folder: Path, methods: int, seeds: int) -> Any:
    """Return a grid of ``methods`` versions of one method on some datasets, each drawn once."""
    from real_run import write_images

    from diadbench.benchmark.planning.grid import parse_grid

    names = [f"class {n:02d}" for n in range(options.classes)]
    datasets = {}
    for number in range(options.datasets):
        root = folder / "images" / str(number)
        if not root.exists():
            write_images(root, names, options.images)
        title = {"title": f"dataset {number}", "classes": names}
        datasets[f"dataset {number}"] = {"dataset": "folder", "root": str(root), "options": title}
    entry = f"{HELPERS / 'pixel_mean.py'}:PixelMean"
    entries = {f"method {n:03d}": {"method": entry, "options": {"scale": 1 + n / 8}} for n in range(methods)}
    values = {"image_size": 32, "threads": 1, "device": "cpu", "seeds": list(range(seeds))}
    return parse_grid({"name": "scale", "methods": entries, "datasets": datasets, **values})


def make(folder: Path, options: argparse.Namespace) -> None:
    """Write the run directory: a process of its own, as a command's peak memory counts what its parent held."""
    sys.path.insert(0, str(HELPERS))
    from real_run import InProcess
    from scaled_run import make_whole

    from diadbench.benchmark.records.store import RunDirectory
    from diadbench.benchmark.runs.runner import run_grid

    os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
    run_grid(grid_of(options, folder, 1, 1), folder / "real", engine=InProcess(), quiet=True)
    seeds = -(-options.cells // (options.methods * options.datasets))
    made = make_whole(folder / "scale", RunDirectory(folder / "real"), grid_of(options, folder, options.methods, seeds))
    print(f"{sum(1 for _ in made.planned())} cells of {options.classes} classes", flush=True)


def add_cells(folder: Path) -> None:
    """Print what adding each finished cell costs the thread of the runner that polls."""
    from diadbench.benchmark.records.store import RunDirectory

    run = RunDirectory(folder / "scale")
    times = []
    with run.recording() as add:
        for key in run.planned():
            start = time.process_time(), time.perf_counter()
            add(run.as_wanted(key))
            times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu, wall = ([each[place] for each in times] for place in (0, 1))
    last = cpu[-len(cpu) // 10 :]
    means = [1000 * sum(each) / len(each) for each in (cpu, last, wall)]
    print(
        f"{'add a cell':<16}mean {means[0]:.2f} ms CPU, last tenth {means[1]:.2f}, most {1000 * max(cpu):.1f} "
        f"(wall: mean {means[2]:.2f}, most {1000 * max(wall):.1f})   (wanted: below 20 ms)",
        flush=True,
    )


def measure(name: str, words: list[str]) -> None:
    """Run a command; print wall seconds, CPU seconds and peak resident memory of this command alone."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "diadbench", *words], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"diadbench {' '.join(words)}: failed")
    seconds, mebibytes = LIMITS[name]
    limit = ", ".join(([f"{seconds} s"] if seconds else []) + ([f"{mebibytes} MB"] if mebibytes else []))
    print(
        f"{name:<16}{time.perf_counter() - start:7.1f} s wall{used.ru_utime + used.ru_stime:7.1f} s CPU"
        f"{used.ru_maxrss / 1024:8.0f} MiB peak" + (f"   (wanted: below {limit})" if limit else ""),
        flush=True,
    )


def apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--methods", type=int, default=50)
    parser.add_argument("--datasets", type=int, default=5)
    parser.add_argument("--classes", type=int, default=15)
    parser.add_argument("--images", type=int, default=8, help="test images a class")
    parser.add_argument("--folder", type=Path, help="keep the run here, or use the one that is here")
    parser.add_argument("--only", default="add,status,run,table,report", help="what to measure, comma-separated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "scale" / "plan.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            apart(make, folder, options)
        os.environ["DIADBENCH_CACHE"] = str(folder / "cache")
        run, only = str(folder / "scale"), options.only.split(",")
        if "add" in only:
            apart(add_cells, folder)
        if "status" in only:
            measure("status", ["status", run])
        if "run" in only:
            measure("run", ["run", run, "--no-report"])  # writes results.csv, the next time there is nothing to do
            measure("run", ["run", run, "--no-report"])
        if "table" in only:
            cut = ["table", run, "--rows", "method", "--columns", "dataset", "--metrics", "i_auroc,p_ap"]
            measure("table", cut)
            measure("table", ["table", run])
            measure("table by class", ["table", run, "--rows", "class", "--columns", "method", "--metrics", "i_auroc",
                                       "--datasets", "dataset 0"])  # fmt: skip
        if "report" in only:
            measure("report", ["report", run])
            page = folder / "scale" / "report" / "index.html"
            print(f"{'page':<16}{page.stat().st_size / 1e6:7.1f} MB   (wanted: below 15 MB)")


if __name__ == "__main__":
    main()
