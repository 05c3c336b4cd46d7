"""DiAD's quality against its cost: fewer steps, other starts, averaged noises, on toy images, with one training a seed.

The small DiAD of ``configs/methods/diad-tiny.yaml`` is trained once for each seed. What decides a prediction alone
(steps, start, noises) is then changed on the trained model, so that variants differ in nothing else. Prints a Markdown
table: means over classes and seeds, seconds an image, and which variants no other beats in both.

    python perf/diad_cost.py                     # three seeds; minutes each
    python perf/diad_cost.py --seeds 0 --train-steps 100 --autoencoder-steps 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

SIZE = 64
TOY: dict[str, Any] = {"size": 64, "train": 40, "test_good": 8, "test_bad": 3}
#: steps, start, noises
VARIANTS = [(1, 349, 1), (2, 349, 1), (4, 349, 1), (10, 349, 1), (2, 199, 1), (4, 199, 1), (4, 349, 4), (2, 349, 4)]
METRICS = ("i_auroc", "p_ap", "aupro")


def measure(seed: int, changes: dict[str, Any]) -> dict[tuple[int, int, int], dict[str, float]]:
    """Train once and return, for each variant, the class means of :data:`METRICS` and ``seconds`` an image."""
    from diadbench.benchmark.cells.provenance import seed_everything
    from diadbench.benchmark.planning.grid import parse_grid
    from diadbench.datasets.decoding.data_module import DataModule
    from diadbench.datasets.toy.dataset import Toy
    from diadbench.methods.base import RunContext
    from diadbench.methods.diad.method import DiAD

    grid = parse_grid({"name": "cost", "methods": ["diad-tiny"], "datasets": ["toy"]})
    dataset = Toy(**TOY)
    (part,) = dataset.parts("multi-class")
    train, test = DataModule(dataset, SIZE).part(part)
    with tempfile.TemporaryDirectory() as scratch:
        seed_everything(seed)
        run = RunContext(
            seed, torch.device("cpu"), (SIZE, SIZE), part.classes, Path(scratch), Path(scratch, "cache"), threads=1
        )
        method = DiAD(**{**grid.methods["diad-tiny"].options, **changes})
        method.fit(train, run)
        found = {}
        for variant in VARIANTS:
            method.steps, method.start, method.n_samples = variant
            found[variant] = evaluate(method, test, dataset)
    return found


@torch.inference_mode()
def evaluate(method: Any, test: Any, dataset: Any) -> dict[str, float]:
    """Predict all test images and return the class means and the seconds an image."""
    from diadbench.benchmark.metrics import Evaluator, get_protocol

    evaluator, spent = Evaluator(dataset.classes, get_protocol("exact"), grouped=True), 0.0
    for batch in test.batches(8):
        start = time.process_time()
        prediction = method.predict(batch.image)
        spent += time.process_time() - start
        evaluator.update(
            class_id=batch.class_id,
            anomaly_map=prediction.anomaly_map,
            mask=batch.mask,
            score=prediction.score,
            label=batch.label,
            index=batch.index,
        )
    mean = evaluator.compute().mean()
    values = dict(zip(mean["metric"], mean["value"]))
    return {**{name: float(values[name]) for name in METRICS}, "seconds": spent / len(test)}


def on_the_front(row: dict[str, float], rows: list[dict[str, float]]) -> bool:
    """Whether no other variant is at least as good in every metric and cheaper."""
    return not any(
        other["seconds"] < row["seconds"] and all(other[name] >= row[name] for name in METRICS) for other in rows
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train-steps", type=int, default=560)
    parser.add_argument("--autoencoder-steps", type=int, default=160)
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = {"train_steps": options.train_steps, "autoencoder_steps": options.autoencoder_steps}
    runs = [measure(seed, changes) for seed in options.seeds]
    names = (*METRICS, "seconds")
    rows = {
        variant: {name: sum(run[variant][name] for run in runs) / len(runs) for name in names} for variant in VARIANTS
    }
    print(f"{len(runs)} seeds, {changes}, toy {TOY}, {SIZE} pixels, CPU seconds on one thread\n")
    print("| steps | start | noises | mAU-ROC_I | mAP_P | mAU-PRO_R | ms an image | front |\n|-|-|-|-|-|-|-|-|")
    for (steps, start, noises), row in sorted(rows.items(), key=lambda pair: pair[1]["seconds"]):
        figures = " | ".join(f"{100 * row[name]:.1f}" for name in METRICS)
        front = "yes" if on_the_front(row, list(rows.values())) else ""
        print(f"| {steps} | {start} | {noises} | {figures} | {1000 * row['seconds']:.0f} | {front} |")


if __name__ == "__main__":
    main()
