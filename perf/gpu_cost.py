"""The table of GPU hours in ``docs/scale.md``: derived from ``perf/gpu_idle.json``, what ``perf/gpu_idle.py`` counted.

    python perf/gpu_cost.py             prints the table and the sum for the paper grid

A step takes the larger of its roofline on the card and the host's time for it. Steps and batches are the authors'.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Dataset -> training and test images.
DATASETS = {
    "MVTec-AD": (3_629, 1_725),
    "VisA": (8_659, 2_162),
    "Real-IAD": (36_465, 114_585),
    "COCO-AD, split 0 of four": (30_438, 4_952),
    "Uni-Medical": (13_339, 7_013),
    "MVTec 3D-AD": (2_656, 1_197),
}
COUNTED = Path(__file__).with_name("gpu_idle.json")
#: Images of a batch in the cases of prediction and of PatchCore's features.
BATCH = 8
#: Passes over the training patches that PatchCore's selection makes, and patches of an image at 256 pixels.
ROUNDS, PATCHES, DIMENSIONS = 500, 1_024, 128
SEEDS, GRID = 3, ("MVTec-AD", "VisA")


def step_ms(counted: dict[str, Any], case: str, card: str) -> float:
    """Milliseconds of a step of a case: what the device needs at least, or the host where that is longer."""
    found = counted[case]
    return float(max(found["roofline_ms"][card], found["host_ms"]))


def steps_of(method: str, train: int) -> int:
    """Return the authors' number of optimiser steps on a dataset."""
    return {"diad": 75_600, "uniad": 1_000 * -(-train // 8), "draem": 318_000}[method]


def hours(counted: dict[str, Any], method: str, card: str, train: int, test: int) -> float:
    """GPU hours of training and prediction of one cell."""
    predict = -(-test // BATCH) * step_ms(counted, f"{method}-predict", card)
    if method == "patchcore":
        passes = 2 * -(-train // BATCH) * step_ms(counted, "patchcore", card)
        bandwidth = counted["bytes_per_second"][card]
        selection = 1e3 * ROUNDS * train * PATCHES * DIMENSIONS * 2 / bandwidth
        return (passes + selection + predict) / 3.6e6
    return (steps_of(method, train) * step_ms(counted, method, card) + predict) / 3.6e6


def main() -> None:
    counted = json.loads(COUNTED.read_text(encoding="utf-8"))
    methods = [name for name in ("diad", "uniad", "patchcore", "draem") if name in counted]
    cards = list(counted["bytes_per_second"])
    for card in cards:
        print(
            f"\n{card}\n\n| dataset | train / test images | {' | '.join(methods)} |\n|{' --- |' * (len(methods) + 2)}"
        )
        for dataset, (train, test) in DATASETS.items():
            cells = " | ".join(f"{hours(counted, name, card, train, test):.1f} h" for name in methods)
            print(f"| {dataset} | {train:,} / {test:,} | {cells} |")
        total = SEEDS * sum(hours(counted, name, card, *DATASETS[dataset]) for name in methods for dataset in GRID)
        print(f"\n{', '.join(GRID)}, {SEEDS} seeds: {total:.0f} GPU hours")


if __name__ == "__main__":
    main()
