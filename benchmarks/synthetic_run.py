"""Make a run directory without running anything, to try, test and time reports."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from diadbench.benchmark.store import METRIC_COLUMNS, METRICS, RunDirectory
from diadbench.common.files import write_json
from diadbench.reports.published import ap_bound

PIXEL = ("p_auroc", "p_ap", "p_f1max", "aupro", "p_ioumax")
SEVEN = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro")


def make_run(
    path: Path | str,
    *,
    methods: Sequence[str] = ("DiAD", "UniAD", "PatchCore", "DRAEM", "padim"),
    datasets: dict[str, Sequence[str]] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    without_masks: Sequence[str] = (),
    failed: dict[tuple[str, str, int], tuple[str, str]] | None = None,
    notes: dict[str, list[str]] | None = None,
    protocol: str = "exact",
    pictures: int = 0,
    images: int = 60,
    seed: int = 0,
) -> RunDirectory:
    """Write a whole run directory with plausible figures.

    Args:
        path: Where to.
        methods: Labels.
        datasets: ``{label: classes}``.
        seeds: Seeds of the cells.
        without_masks: Datasets whose pixel and region metrics are undefined.
        failed: ``{(dataset, method, seed): (state, reason)}``.
        notes: ``{method: notes}`` for status.json.
        protocol: Name on every row.
        pictures: Gallery images a class (side 64) in the cells of every method; 0: no gallery.
        images: Test images a class.
        seed: Decides all figures.
    """
    datasets = datasets or {
        "mvtec": ["bottle", "cable", "capsule", "carpet", "grid", "tile", "wood"],
        "visa": ["candle", "cashew", "chewinggum", "fryum", "pcb1", "pcb2"],
        "elpv": ["mono", "poly"],
    }
    run = RunDirectory(path, must_exist=False)
    run.path.mkdir(parents=True, exist_ok=True)
    grid = {"methods": list(methods), "datasets": list(datasets), "settings": ["multi-class"], "seeds": list(seeds)}
    grid |= {"methods": {m: {} for m in methods}, "datasets": {d: {} for d in datasets}}
    (run.path / "grid.yaml").write_text(yaml.safe_dump(grid, allow_unicode=True, sort_keys=False))
    write_json(run.path / "environment.json", ENVIRONMENT)
    rng = np.random.default_rng(seed)
    for dataset, classes in datasets.items():
        for place, method in enumerate(methods):
            for number in seeds:
                end = (failed or {}).get((dataset, method, number))
                _cell(run, rng, dataset, list(classes), method, place, number, dataset not in without_masks, end,
                      (notes or {}).get(method, []), protocol, pictures, images)  # fmt: skip
    run.write_results()
    return run


ENVIRONMENT = {
    "diadbench": "0.1.0",
    "python": "3.11.2",
    "platform": "Linux-6.1-x86_64",
    "cpu": "AMD EPYC 7B13, 2 cores",
    "gpu": None,
    "commit": "0123abcd",
    "dirty": False,
    "packages": {"torch": "2.14.0", "anomalib": "2.7.0", "numpy": "2.3.0"},
}


def _cell(
    run: RunDirectory,
    rng: np.random.Generator,
    dataset: str,
    classes: list[str],
    method: str,
    place: int,
    seed: int,
    masks: bool,
    end: tuple[str, str] | None,
    notes: list[str],
    protocol: str,
    pictures: int,
    images: int,
) -> None:
    cell = run.cell(dataset, method, "multi-class", seed)
    cell.directory.mkdir(parents=True, exist_ok=True)
    config = {
        "dataset_label": dataset,
        "method_label": method,
        "setting": "multi-class",
        "seed": seed,
        "protocol": protocol,
        "method": {"name": method, "options": {"image_size": 256, "epochs": 100}},
        "dataset": {"name": dataset},
    }
    (cell.directory / "cell.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    (cell.directory / "log.txt").write_text(
        f"fit {method} on {dataset}\nstep 100 loss 0.1\n<script>alert(1)</script>\n"
    )
    status = _status(rng, dataset, method, seed, protocol, notes, len(classes) * images, place)
    if end:
        cell.write_status(**{**status, "state": end[0], "reason": end[1], "traceback": f"Traceback ...\n{end[1]}"})
        return
    rows = _metrics(rng, classes, place, masks, images)
    pd.DataFrame(rows, columns=list(METRIC_COLUMNS)).to_csv(cell.directory / "metrics.csv", index=False)
    _scores(rng, cell.directory, classes, place, images)
    _curves(rng, cell.directory, classes, place, masks)
    steps = np.arange(0, 1000, 50)
    history = pd.DataFrame(
        {"step": steps, "name": "loss", "value": np.exp(-steps / 300) + rng.random(len(steps)) * 0.05}
    )
    if place % 2 == 0:
        history.to_csv(cell.directory / "history.csv", index=False)
    if pictures:
        _gallery(cell.directory, classes, place, pictures)
    cell.write_status(**status)


def _status(
    rng: np.random.Generator, dataset: str, method: str, seed: int, protocol: str, notes: list[str], n: int, place: int
) -> dict[str, Any]:
    key = "".join(char for char in method.lower() if char.isascii() and char.isalnum()) or "method"
    return {
        "state": "done",
        "reason": "",
        "started": "2026-01-01T10:00:00",
        "finished": "2026-01-01T10:10:00",
        "phases": {"prepare": 2.0, "fit": 30.0 * (place + 1), "predict": n / (50.0 / (place + 1)), "evaluate": 1.5},
        "peak_memory": {"cpu_bytes": int((0.5 + place) * 2**30), "gpu_bytes": None},
        "n_train": n,
        "n_test": n,
        "images_per_second": 50.0 / (place + 1) * (1 + 0.1 * rng.random()),
        "parameters": 1_000_000 * (place + 1),
        "notes": notes,
        "extras": {},
        "identity": f"{dataset}-{method}-{seed}-{protocol}",
        "fingerprint": "f00d",
        "protocol": protocol,
        "environment": ENVIRONMENT,
        "method_info": {
            "title": method,
            "paper": f"The paper of {method}",
            "venue": "AAAI'24",
            "cite": f"{key}2024" if place < 4 else "",
            "needs": [],
            "bibtex": f"@inproceedings{{{key}2024,\n  title = {{The paper of {key}}},\n  author = {{A. Author}},\n"
            "  booktitle = {AAAI},\n  year = {2024}\n}"
            if place < 4
            else "",
        },
        "dataset_info": {"title": dataset, "cite": "", "licence": "CC BY-NC-SA 4.0", "homepage": "https://example.org"},
    }


def _metrics(
    rng: np.random.Generator, classes: list[str], place: int, masks: bool, images: int
) -> list[dict[str, Any]]:
    base = {"i_auroc": 0.95, "i_ap": 0.97, "i_f1max": 0.94, "p_auroc": 0.96, "p_ap": 0.52, "p_f1max": 0.55,
            "aupro": 0.9, "p_ioumax": 0.42}  # fmt: skip
    rows: list[dict[str, Any]] = []
    values: dict[str, list[float]] = {}
    for name in classes:
        level = {key: float(np.clip(v - 0.01 * place + rng.normal(0, 0.02), 0.02, 1)) for key, v in base.items()}
        level["i_ap"] = min(level["i_ap"], 0.99 * ap_bound(level["i_f1max"]))
        level["p_ioumax"] = level["p_f1max"] / (2 - level["p_f1max"]) + 0.01
        level["mad"] = float(np.mean([level[key] for key in SEVEN]))
        for key in (*base, "mad"):
            dead = not masks and (key in PIXEL or key == "mad")
            value = None if dead else level[key]
            rows.append(dict(zip(METRIC_COLUMNS, (name, "class", key, value, "no masks" if dead else "", images // 2,
                                                  images // 2, None, None))))  # fmt: skip
            values.setdefault(key, []).append(float("nan") if dead else level[key])
    for key, found in values.items():
        defined = int(np.isfinite(found).sum())
        whole = defined == len(found)
        reason = "" if whole else "no masks" if not defined else f"{defined}/{len(found)} classes"
        value = float(np.mean(found)) if whole else None
        rows.append(dict(zip(METRIC_COLUMNS, ("mean", "mean", key, value, reason, None, None, defined, len(found)))))
    assert {row["metric"] for row in rows} <= set(METRICS)
    return rows


def _scores(rng: np.random.Generator, directory: Path, classes: list[str], place: int, images: int) -> None:
    n = images * len(classes)
    label = np.arange(n) % 2
    pd.DataFrame(
        {
            "index": np.arange(n),
            "image": [f"{i:04d}.png" for i in range(n)],
            "class": np.repeat(classes, images),
            "defect": np.where(label == 1, "scratch", "good"),
            "label": label,
            "score": rng.normal(size=n) + label * (3 - 0.3 * place),
            "sample_id": "",
        }
    ).to_parquet(directory / "scores.parquet")


def _curves(rng: np.random.Generator, directory: Path, classes: list[str], place: int, masks: bool) -> None:
    x = np.linspace(0, 1, 101, dtype=np.float32)
    curves: dict[str, Any] = {"classes": np.array(classes)}
    for position in range(len(classes)):
        power = 0.05 + 0.02 * place + 0.02 * rng.random()
        curves[f"{position}/roc/x"], curves[f"{position}/roc/y"] = x, x**power
        if masks:
            curves[f"{position}/pr/x"], curves[f"{position}/pr/y"] = x, 1 - x ** (1 + 3 / (1 + 0.2 * place))
            curves[f"{position}/pro/x"], curves[f"{position}/pro/y"] = x * 0.3, x**power
    np.savez_compressed(directory / "curves.npz", **curves)


def _gallery(directory: Path, classes: list[str], place: int, pictures: int) -> None:
    (directory / "gallery").mkdir(exist_ok=True)
    index = []
    yy, xx = np.mgrid[:64, :64]
    for number, name in enumerate(name for name in classes for _ in range(pictures)):
        image = np.stack([(xx * 3 + number * 17) % 256, (yy * 3) % 256, np.full_like(xx, 120)], -1).astype(np.uint8)
        cy, cx = 20 + number % 24, 22 + number % 20
        mask = (yy - cy) ** 2 + (xx - cx) ** 2 < 60
        image[mask] = (200, 40, 40)
        noise = np.random.default_rng([place, number]).random((64, 64))
        heat = np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (60.0 + 60 * place)) + 0.1 * place * noise
        arrays = {"image": image, "map": heat.astype(np.float16)}
        if number % 5:
            arrays["mask"] = mask
        if place == 0:
            arrays["reconstruction"] = np.where(mask[..., None], np.uint8(120), image).astype(np.uint8)
        np.savez_compressed(directory / "gallery" / f"{number}.npz", **arrays)
        index.append({"row": number, "class": name, "defect": "spot", "label": 1, "score": float(heat.max()),
                      "image": f"{name}/{number}.png"})  # fmt: skip
    write_json(directory / "gallery" / "index.json", index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--methods", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2)
    options = parser.parse_args()
    names = ["DiAD", "UniAD", "PatchCore", "DRAEM", "padim", *(f"method {n:02d}" for n in range(6, 99))]
    print(
        make_run(options.path, methods=names[: options.methods], pictures=options.pictures, without_masks=["elpv"]).path
    )


if __name__ == "__main__":
    main()
