"""Coreset selection: anomalib's KCenterGreedy against ours, in one run, in turn, in CPU seconds and memory.

Features are 1536-d random mixtures (speed doesn't depend on their values). Each side gets the same features, projects
them in its own way (anomalib: sparse random projection; ours: to 128-d float16 in a memory map) and selects. A second
check runs the one-at-a-time greedy on our projected features and compares the indices.

    python perf/coreset.py                       # 80,000 patches, 1 %
    python perf/coreset.py --patches 400000 --ratio 0.01 --steps 30 --no-reference
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

DIMENSION = 1536


def features(patches: int, seed: int = 0) -> torch.Tensor:
    """``float32 (patches, 1536)``: 300 clusters of different spread."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.empty(patches, DIMENSION)
    centres = torch.randn(300, DIMENSION, generator=generator)
    for begin in range(0, patches, 8192):
        block = rows[begin : begin + 8192]
        spread = 0.1 + torch.rand(len(block), 1, generator=generator)
        block.normal_(generator=generator).mul_(spread)
        block += centres[torch.randint(300, (len(block),), generator=generator)]
    return rows


class Memory:
    """Largest resident memory above that at the start, from a thread that looks every 5 ms."""

    def __enter__(self) -> Memory:
        import psutil

        self._process = psutil.Process()
        self._before = self._now()
        self.above = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _now(self) -> int:
        # Pages of a memory-mapped file can be dropped at any time and are not counted.
        info = self._process.memory_full_info() if sys.platform != "linux" else self._process.memory_info()
        return int(info.rss - getattr(info, "shared", 0))

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            self.above = max(self.above, self._now() - self._before)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def run_anomalib(patches: int, k: int, steps: int) -> dict[str, Any]:
    from anomalib.models.components import KCenterGreedy

    rows = features(patches)
    torch.manual_seed(0)
    sampler = KCenterGreedy(rows, k / patches)
    took = min(steps or k, k)
    with Memory() as memory:
        began = time.process_time()
        sampler.model.fit(rows)
        projected = sampler.model.transform(rows)
        projection = time.process_time() - began
        sampler.model.fit = lambda _: sampler.model  # the projection is done and timed
        sampler.model.transform = lambda _: projected
        sampler.coreset_size = took
        began = time.process_time()
        sampler.select_coreset_idxs()
        selection = time.process_time() - began
    seconds = projection + selection / max(took - 1, 1) * (k - 1)
    return {
        "seconds": seconds,
        "selection": seconds - projection,
        "memory": memory.above,
        "dimensions": projected.shape[1],
        "steps": took,
    }


def run_ours(patches: int, k: int, reference: bool) -> dict[str, Any]:
    from diadbench.methods.patchcore.coreset import greedy_coreset
    from diadbench.methods.patchcore.patches import project_patches

    rows = features(patches).view(-1, 1000, DIMENSION)
    with tempfile.TemporaryDirectory() as scratch:
        with Memory() as memory:
            began = time.process_time()
            stored = project_patches(
                lambda chosen: rows[chosen],
                len(rows),
                dimension=128,
                seed=0,
                batch_size=4,
                directory=Path(scratch),
                progress=lambda done, total: None,
            )
            projection = time.process_time() - began
            found = greedy_coreset(stored.values, k, start=7)
            seconds = time.process_time() - began
        result: dict[str, Any] = {"seconds": seconds, "selection": seconds - projection, "memory": memory.above}
        result |= {"rounds": found.rounds, "radius": found.radius}
        if reference:
            result["identical"] = one_at_a_time(np.array(stored.values), k, 7) == found.indices.tolist()
    return result


def one_at_a_time(values: np.ndarray, k: int, start: int) -> list[int]:
    """The plain greedy: a pass over all points for each pick, distances from differences."""
    points = torch.from_numpy(values).float()
    nearest = torch.full((len(points),), torch.inf)
    picks = [start]
    while len(picks) < k:
        nearest = torch.minimum(nearest, torch.linalg.norm(points - points[picks[-1]], dim=1))
        picks.append(int(nearest.argmax()))
    return picks


def apart(side: str, *arguments: Any) -> dict[str, Any]:
    """Run one side in a process of its own, so that memory is its own."""
    command = [sys.executable, __file__, "--side", json.dumps([side, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def line(name: str, found: dict[str, Any], rest: str) -> str:
    numbers = f"{found['seconds']:6.1f} s   {found['selection']:8.2f} s   {found['memory'] / 1e6:5.0f} MB"
    return f"{name:<10}{numbers}   {rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=80_000, help="a multiple of 1,000")
    parser.add_argument("--ratio", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=0, help="time so many of anomalib's steps and scale; 0: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-reference", action="store_true", help="don't compare with the one-at-a-time greedy")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        side, *values = json.loads(arguments.side)
        print(json.dumps({"anomalib": run_anomalib, "ours": run_ours}[side](*values)))
        return
    k = int(arguments.patches * arguments.ratio)
    print(f"{arguments.patches:,} patches of {DIMENSION} d, {k:,} selected; CPU seconds, memory above the features")
    print("           whole      selection       memory")
    theirs = apart("anomalib", arguments.patches, k, arguments.steps)
    scaled = "" if theirs["steps"] == k else f", scaled from {theirs['steps']} steps"
    print(line("anomalib", theirs, f"to {theirs['dimensions']} d{scaled}"))
    ours = apart("ours", arguments.patches, k, not arguments.no_reference)
    print(line("ours", ours, f"to 128 d, {ours['rounds']} passes"))
    print(f"ratio     {theirs['seconds'] / ours['seconds']:6.1f}     {theirs['selection'] / ours['selection']:8.1f}")
    if "identical" in ours:
        print(f"indices identical to the one-at-a-time greedy: {'yes' if ours['identical'] else 'NO'}")


if __name__ == "__main__":
    main()
