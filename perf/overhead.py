"""What the harness itself costs: CPU of a cell that does nothing, and the answers of a run with 1,000 finished cells.

    python perf/overhead.py --cells 100 --finished 1000

Cells are the cheap ones of the storm tests (no torch, no waiting). Their start is timed beside them: the same process
with the same imports that ends at once (the median of five before and five after). CPU seconds, children included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

try:
    import resource
except ImportError:
    raise SystemExit("benchmarks/overhead.py needs the module resource; Windows lacks it: use WSL 2") from None

CHEAP = Path(__file__).resolve().parents[1] / "tests" / "storm" / "cheap"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
IMPORTS = "import diadbench.benchmark.cells.worker, diadbench.common.cache.arrays, numpy, yaml"


def cpu(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return CPU and wall seconds of a command and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - start


def start_of(environment: dict[str, str]) -> float:
    """Return CPU seconds of a process that ends after a cell's imports; with one thread, as the cells here have."""
    return cpu([sys.executable, "-P", "-c", IMPORTS], {**environment, **THREADS})[0]


def write_grid(place: Path, seeds: int) -> Path:
    for name in ("train/good", "test/good"):
        path = place / "data" / "thing" / name / "0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(path)
    method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": 0.0}}
    grid = {"methods": {"nothing": method}, "datasets": {"thing": {"dataset": "folder", "root": str(place / "data")}}}
    path = place / f"grid{seeds}.yaml"
    path.write_text(
        yaml.safe_dump({**grid, "seeds": list(range(seeds)), "threads": 1, "device": "cpu"}), encoding="utf-8"
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--finished", type=int, default=1000)
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="overhead-"))
    environment = {**os.environ, "PYTHONPATH": str(CHEAP), "DIADBENCH_CACHE": str(place / "cache")}
    diadbench = [sys.executable, "-P", "-m", "diadbench"]
    try:
        run = [*diadbench, "run", str(write_grid(place, args.cells)), "--out", str(place / "run"), "--no-report"]
        cpu([*diadbench, "run", str(write_grid(place, 1)), "--out", str(place / "warm"), "--no-report"], environment)
        starts = [start_of(environment) for _ in range(5)]
        spent, _ = cpu(run, environment)
        start = statistics.median(starts + [start_of(environment) for _ in range(5)])
        print(f"{args.cells} cells: {spent / args.cells:.3f} s of CPU each; start and imports {start:.3f} s")
        print(f"beyond start and imports: {spent / args.cells - start:.3f} s of CPU a cell (goal: 0.3)")
        fill(place / "run", args.cells, args.finished)
        grid = write_grid(place, args.finished)
        again = [*diadbench, "run", str(grid), "--out", str(place / "run"), "--no-report"]
        cpu(again, environment)  # writes the results of the added cells, once
        for name, command in (("run", again), ("status", [*diadbench, "status", str(place / "run")])):
            spent, wall = cpu(command, environment)
            print(f"{args.finished} finished cells: {name} {spent:.2f} s of CPU, {wall:.2f} s of wall time (goal: 2)")
    finally:
        shutil.rmtree(place)


def fill(run: Path, have: int, want: int) -> None:
    """Copy a finished cell until the run directory holds ``want``; only the identity differs, which the plan gives."""
    from diadbench.benchmark.planning.grid import load_grid
    from diadbench.benchmark.planning.plan import make_plan
    from diadbench.benchmark.records.store import RunDirectory

    os.environ["DIADBENCH_CACHE"] = str(run.parent / "cache")
    source = run / "cells" / "thing" / "nothing" / "multi-class" / "seed0"
    ended = json.loads((source / "status.json").read_text(encoding="utf-8"))
    plan = make_plan(load_grid(write_grid(run.parent, want)), RunDirectory(run))
    for planned in plan.cells[have:]:
        shutil.copytree(source, planned.record.directory)
        (planned.record.directory / "cell.yaml").write_text(
            yaml.dump(planned.config, Dumper=yaml.CSafeDumper), encoding="utf-8"
        )
        status = {**ended, "identity": planned.config["identity"]}
        (planned.record.directory / "status.json").write_text(
            json.dumps(status), encoding="utf-8"
        )  # a thousand fsyncs take minutes


if __name__ == "__main__":
    main()
