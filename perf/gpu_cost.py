"""What steps and the paper grid cost on a GPU: the tables of docs/scale.md, from steps that ``gpu_idle.py`` measured.

    python perf/gpu_idle.py uniad --json /tmp/uniad.json
    python perf/gpu_cost.py --keep uniad=/tmp/uniad.json     # into perf/gpu_steps.json
    python perf/gpu_cost.py [--write]                        # print the tables, or put them into docs/scale.md

A step takes the larger of the host's time and the roofline's: the host starts kernels while the GPU computes. Host
times are of one core here; the rooflines are estimates for the cards (``gpu_idle.CARDS``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_idle import CARDS

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "perf" / "gpu_steps.json"
DOCS = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- perf/gpu_cost.py -->\n", "<!-- end of perf/gpu_cost.py -->\n"
#: The card of the paper grid, and its part of a card's memory that a step may use.
LARGE = "H100, 80 GB"
USABLE = 0.95
SEEDS = 3
TITLES = {
    "mvtec": "MVTec-AD",
    "visa": "VisA",
    "realiad": "Real-IAD",
    "coco_ad": "COCO-AD, split 0 of four",
    "unimedical": "Uni-Medical",
    "mvtec3d": "MVTec 3D-AD",
}
#: Hours of PatchCore: an estimate, no count (two passes of the backbone, a coreset of 50,000 patches).
PATCHCORE = {"mvtec": 0.6, "visa": 1.4, "realiad": 7.0, "coco_ad": 6.0, "unimedical": 2.2, "mvtec3d": 0.4}
#: The data sets whose sum is told.
SUMMED = ("mvtec", "visa")


@dataclass(frozen=True)
class Way:
    """One way to make a step.

    Attributes:
        name: As in the table.
        kept: Name of the measured step.
        roofline: Name of the measured step whose roofline is that of this one, if it isn't its own.
    """

    name: str
    kept: str
    roofline: str = ""


#: For each method the ways of a step, the fastest first; a card takes the first that fits.
WAYS: dict[str, tuple[Way, ...]] = {
    "DiAD, 48 images at 256, bf16": (
        Way("48 at a time, activations kept", "diad48keep"),
        Way("48 at a time, recomputed", "diad48"),
        Way("2 x 24, recomputed", "diad24x2", "diad48"),
        Way("4 x 12, recomputed", "diad12x4", "diad48"),
        Way("4 x 12, recomputed, Adafactor", "diad12x4save", "diad48"),
    ),
    "DRAEM, 8 images at 256, TF32": (Way("8 at a time", "draem"),),
    "UniAD, 8 images at 224, TF32": (Way("one CUDA graph", "uniad"), Way("without a graph", "uniad-plain")),
}


def kept() -> dict[str, Any]:
    """Return the kept measurements."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def keep(named: list[str]) -> None:
    """Add ``NAME=FILE`` of ``gpu_idle.py --json`` to the kept measurements."""
    found = kept() if KEPT.is_file() else {"steps": {}}
    for text in named:
        name, _, file = text.partition("=")
        (step,) = json.loads(Path(file).read_text(encoding="utf-8")).values()
        found["steps"][name] = step
    KEPT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _milliseconds(way: Way, steps: dict[str, Any], card: str) -> tuple[float, float]:
    """Return the host's time of a step, and the roofline on a card."""
    return steps[way.kept]["host_ms"], steps[way.roofline or way.kept]["roofline_ms"][card]


def _fitting(ways: tuple[Way, ...], steps: dict[str, Any], card: str) -> Way | None:
    room = USABLE * CARDS[card]["gb"] * 1e9 / 2**30
    return next((way for way in ways if steps[way.kept]["peak_gib"] <= room), None)


def _measured(steps: dict[str, Any]) -> Iterator[str]:
    yield "| step | launches | host | roofline, H100 | host / roofline | peak |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for method, ways in WAYS.items():
        for way in ways:
            host, roofline = _milliseconds(way, steps, LARGE)
            launches, peak = steps[way.kept]["launches"], steps[way.kept]["peak_gib"]
            row = f"{launches:,.0f} | {host:.1f} ms | {roofline:.1f} ms | {host / roofline:.2f} | {peak:.1f} GiB |"
            yield f"| {method}: {way.name} | {row}"


def _cards(steps: dict[str, Any]) -> Iterator[str]:
    yield "| card | step | how | host | roofline | a step takes |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for card in CARDS:
        for method, ways in WAYS.items():
            way = _fitting(ways, steps, card)
            if way is None:
                yield f"| {card} | {method} | doesn't fit | | | |"
                continue
            host, roofline = _milliseconds(way, steps, card)
            times = f"{host:.1f} ms | {roofline:.1f} ms | {max(host, roofline):.1f} ms |"
            yield f"| {card} | {method} | {way.name} | {times}"


def _hours(steps: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return ``{dataset: {method: hours of one seed}}`` on the large card, with the authors' steps and batches."""
    from diadbench.datasets.facts.counts import published

    found = {}
    for dataset in TITLES:
        classes = published(dataset)[0][1]
        counts = [classes["split0"]] if dataset == "coco_ad" else list(classes.values())
        train, test = sum(each.train for each in counts), sum(each.good + each.bad for each in counts)
        trained = {
            "DiAD": ("diad48-paper", 75_600),
            "UniAD": ("uniad", 1000 * -(-train // 8)),
            "DRAEM": ("draem", 318_000),
        }
        found[dataset] = {}
        for method, (name, number) in trained.items():
            seconds = number * _seconds(steps[name]) + test / 8 * _seconds(steps[f"{method.lower()}-predict"])
            found[dataset][method] = seconds / 3600
        found[dataset]["PatchCore"] = PATCHCORE[dataset]
    return found


def _seconds(step: dict[str, Any]) -> float:
    return max(step["host_ms"], step["roofline_ms"][LARGE]) / 1e3


def _paper(steps: dict[str, Any]) -> Iterator[str]:
    hours = _hours(steps)
    methods = list(next(iter(hours.values())))
    yield f"| one seed, {LARGE} | {' | '.join(methods)} | all |"
    yield f"| --- |{' --- |' * (len(methods) + 1)}"
    for dataset, of_method in hours.items():
        numbers = " | ".join(f"{of_method[method]:.1f} h" for method in methods)
        yield f"| {TITLES[dataset]} | {numbers} | {sum(of_method.values()):.1f} h |"
    total = SEEDS * sum(sum(hours[dataset].values()) for dataset in SUMMED)
    yield ""
    yield (
        f"Three seeds on MVTec-AD and VisA are {total:.0f} GPU hours. DiAD is the grid's: float32 with TF32, 75,600 "
        "steps of 48 (test images in bfloat16); UniAD 1,000 epochs of 8, DRAEM 318,000 steps of 8, PatchCore an "
        "estimate. Metrics, reading and the single pass for features aren't in it."
    )


def tables() -> str:
    """Return the tables as Markdown, with what they were measured on."""
    found = kept()
    steps = found["steps"]
    dates = sorted({step["date"] for step in steps.values()})
    commits = sorted({step["commit"] for step in steps.values()})
    device = ", ".join(sorted({step["device"] for step in steps.values()}))
    lines = [
        f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))} at {', '.join(commits)} on: {device}. "
        f"{found['remark']}",
        "",
        *_measured(steps),
        "",
        "On three cards, each in the first of these ways whose peak fits:",
        "",
        *_cards(steps),
        "",
        *_paper(steps),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", nargs="+", metavar="NAME=FILE", default=[])
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    if chosen.keep:
        keep(chosen.keep)
    elif chosen.write:
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        DOCS.write_text(before + BEGIN + tables() + END + rest.partition(END)[2], encoding="utf-8")
    else:
        print(tables(), end="")


if __name__ == "__main__":
    main()
