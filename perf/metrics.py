"""Times the metric engine beside sklearn + PRO, anomalib, torchmetrics and adeval: CPU time, memory, deviations.

All of a size run in turn, each in a forked process of its own on one thread; memory is what the call adds at its peak.

    python perf/metrics.py                      # 83, 400 and 1725 maps of 256x256 (about ten minutes)
    python perf/metrics.py --sizes 83           # a quarter of that
    python perf/metrics.py --by-name --sizes 83 # what each metric that is asked for by name adds to that
    python perf/metrics.py --stream 4           # memory growth instead: one class of up to 4 Gpx from disk
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from scipy import ndimage

KEYS = ("p_auroc", "p_ap", "p_f1max", "aupro")


def synthetic(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth float32 maps (n,256,256) and masks: half anomalous, about 0.9 % of pixels anomalous."""
    rng = np.random.default_rng(seed)
    maps, masks = np.empty((n, 256, 256), np.float32), np.zeros((n, 256, 256), np.uint8)
    for i in range(n):
        coarse = np.abs(ndimage.gaussian_filter(rng.standard_normal((64, 64)), 1.5))
        one = ndimage.gaussian_filter(ndimage.zoom(coarse, 4, order=1).astype(np.float32), 4)
        if i % 2:
            for _ in range(rng.integers(1, 4)):
                h, w = rng.integers(8, 46, 2)
                y, x = rng.integers(0, 256 - h), rng.integers(0, 256 - w)
                rows, columns = np.mgrid[:h, :w]
                disc = ((rows - h / 2) / (h / 2)) ** 2 + ((columns - w / 2) / (w / 2)) ** 2 < 1
                masks[i, y : y + h, x : x + w] |= disc.astype(np.uint8)
            one = one + ndimage.gaussian_filter(masks[i].astype(np.float32), 3) * rng.gamma(2, 0.3)
        maps[i] = one + 0.01
    return maps, masks


def ours(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    from diadbench.benchmark.metrics import evaluate

    return dict(evaluate(maps, masks))


def sort(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    np.sort(maps.ravel())
    return {}


def adeval(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    import adeval as package

    setattr(np, "trapz", np.trapezoid)  # noqa: B010 - adeval needs it; numpy 2.4 dropped it
    p_auroc, p_ap, aupro = package.auroc_aupr_aupro(maps, masks)
    package.auroc_and_aupr(maps.max((1, 2)), masks.max((1, 2)))
    return {"p_auroc": p_auroc, "p_ap": p_ap, "aupro": float(aupro)}


def sklearn_and_pro(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    def best_f1(labels: np.ndarray, scores: np.ndarray) -> float:
        precision, recall, _ = precision_recall_curve(labels, scores)
        return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300)))

    labels, scores = masks.max((1, 2)), maps.max((1, 2))
    for function in (roc_auc_score, average_precision_score, best_f1):
        function(labels, scores)
    flat, truth = maps.ravel(), masks.ravel()
    return {
        "p_auroc": float(roc_auc_score(truth, flat)),
        "p_ap": float(average_precision_score(truth, flat)),
        "p_f1max": best_f1(truth, flat),
        "aupro": defined_pro(maps, masks),
    }


def defined_pro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """AU-PRO with a point for each distinct score: sort all pixels, add up false positives and region shares."""
    share, regions = np.zeros(maps.shape), 0
    for i, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += count
        share[i] = np.append(0.0, 1.0 / np.maximum(np.bincount(labels.ravel(), minlength=count + 1)[1:], 1))[labels]
    order = np.argsort(maps, axis=None)[::-1]
    ordered = maps.ravel()[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    normal = masks.ravel()[order] == 0
    fpr = np.append(0.0, (np.cumsum(normal) / normal.sum())[last])
    pro = np.append(0.0, (np.cumsum(share.ravel()[order]) / regions)[last])
    stop = int(np.searchsorted(fpr, limit, "right"))
    at = pro[stop - 1] + (pro[stop] - pro[stop - 1]) * (limit - fpr[stop - 1]) / (fpr[stop] - fpr[stop - 1])
    return float(np.trapezoid(np.append(pro[:stop], at), np.append(fpr[:stop], limit)) / limit)


def anomalib(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    import torch
    from anomalib.metrics.aupr import _AUPR
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC
    from anomalib.metrics.f1_score import _F1Max

    values, truth = torch.from_numpy(maps / maps.max()), torch.from_numpy(masks)  # within [0,1]: no sigmoid
    images, labels = values.amax((1, 2)), truth.amax((1, 2))
    found = {}
    for kind, scores, marks in (("i", images, labels), ("p", values, truth)):
        for name, metric in (("auroc", _AUROC()), ("ap", _AUPR()), ("f1max", _F1Max())):
            metric.update(scores.flatten(), marks.flatten().int())
            found[f"{kind}_{name}"] = float(metric.compute())
    pro = _AUPRO()
    pro.update(values, truth)
    return {**found, "aupro": float(pro.compute())}


def torchmetrics(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    import torch
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_precision_recall_curve,
    )

    values, truth = torch.from_numpy(maps / maps.max()), torch.from_numpy(masks).int()
    found = {}
    for kind, scores, marks in (("i", values.amax((1, 2)), truth.amax((1, 2))), ("p", values.ravel(), truth.ravel())):
        found[f"{kind}_auroc"] = float(binary_auroc(scores, marks))
        found[f"{kind}_ap"] = float(binary_average_precision(scores, marks))
        precision, recall, _ = binary_precision_recall_curve(scores, marks)
        found[f"{kind}_f1max"] = float((2 * precision * recall / (precision + recall)).nan_to_num().max())
    return found


FAST = {"diadbench": ours, "np.sort": sort, "adeval": adeval}
SLOW = {"sklearn + PRO": sklearn_and_pro, "anomalib": anomalib, "torchmetrics (no PRO)": torchmetrics}


def memory(key: str) -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith(key)
    )
    return int(line.split()[1]) * 1024


def _child(pipe, call: Callable, maps: np.ndarray, masks: np.ndarray) -> None:
    try:
        call(maps[:4].copy(), masks[:4].copy())  # imports, compilation
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak
        before, start = memory("VmRSS"), time.process_time()
        found = call(maps, masks)
        pipe.send((time.process_time() - start, memory("VmHWM") - before, found))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def measured(call: Callable, maps: np.ndarray, masks: np.ndarray):
    """Run in a forked process; return CPU seconds, extra bytes at the peak, values, or the text of an error."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, call, maps, masks))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return "killed (out of memory?)"
    finally:
        process.join()


def compare(n: int, slow: bool, repeats: int) -> list[dict]:
    """Measure everything at ``n`` maps, in turn, and print it."""
    maps, masks = synthetic(n)
    calls = FAST | (SLOW if slow else {})
    runs: dict[str, list] = {name: [] for name in calls}
    for repeat in range(repeats):
        for name, call in calls.items():
            if repeat == 0 or name in FAST:
                runs[name].append(measured(call, maps, masks))
    best = {name: min((run for run in found if not isinstance(run, str)), default=found[0], key=lambda run: run[0])
            for name, found in runs.items()}  # fmt: skip
    pixels, anomalous = maps.size, int(masks.sum())
    exact = best["diadbench"]
    print(f"\n{n} maps, {pixels / 1e6:.1f} Mpx, {anomalous} anomalous pixels ({100 * anomalous / pixels:.2f} %)")
    print(f"{'':22} {'ns/px':>8} {'x ours':>8} {'B/px':>7}  largest deviation")
    rows = []
    for name, run in best.items():
        if isinstance(run, str):
            print(f"{name:22} failed: {run}")
            continue
        seconds, extra, found = run
        deviation = max((abs(found[key] - exact[2][key]) for key in KEYS if key in found), default=float("nan"))
        rows.append(
            {"n": n, "name": name, "ns": seconds / pixels * 1e9, "bytes": extra / pixels, "deviation": deviation}
        )
        print(f"{name:22} {rows[-1]['ns']:8.2f} {seconds / exact[0]:8.2f} {extra / pixels:7.2f}  {deviation:.1e}")
    allowed = 64 * anomalous + (64 << 20)
    print(
        f"extra memory of diadbench: {exact[1] / 2**20:.0f} MB; allowed 64 B/anomalous px + 64 MB: {allowed >> 20} MB"
    )
    return rows


def with_thresholds(name: str) -> Callable:
    """Return a call that evaluates with a metric at a threshold, or with all tables of thresholds (``decisions``)."""

    def call(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        from diadbench.benchmark.metrics import Evaluator

        decisions = name == "decisions"
        evaluator = Evaluator(
            ["all"], "exact" if decisions else f"exact+{name}", with_curves=False, decisions=decisions
        )
        ids = np.zeros(len(maps), int)
        evaluator.calibrate(ids[:32], maps[:32], None)
        evaluator.update(ids, maps, masks, None, None, borrow=True)
        table = evaluator.compute().table
        return dict(zip(table["metric"], table["value"]))

    return call


def named(name: str) -> Callable:
    """Return a call that evaluates under ``exact`` with one more metric."""

    def call(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        from diadbench.benchmark.metrics import evaluate

        return dict(evaluate(maps, masks, protocol=f"exact+{name}"))

    return call


BY_NAME = {
    **{name: named(name) for name in ("aupro@0.05", "aupimo", "i_pg", "i_pb", "p_pg", "p_pb")},
    **{name: with_thresholds(name) for name in ("class_f1", "seg_f1", "p_iou@q0.99", "decisions")},
}


def by_name(n: int, repeats: int) -> list[dict]:
    """Measure what each metric by name adds to ``exact`` at ``n`` maps; the best of several runs in turn."""
    maps, masks = synthetic(n)
    calls = {"exact": ours, **BY_NAME}
    runs: dict[str, list] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            runs[name].append(measured(call, maps, masks))
    rows = []
    print(f"\n{n} maps, {maps.size / 1e6:.1f} Mpx\n{'':14} {'ns/px':>8} {'more':>8} {'B/px':>7}  value")
    for name, found in runs.items():
        done = [run for run in found if not isinstance(run, str)]
        if not done:
            print(f"{name:14} failed: {found[0]}")
            continue
        seconds, extra, values = min(done, key=lambda run: run[0])
        row = {"n": n, "name": name, "ns": seconds / maps.size * 1e9, "bytes": extra / maps.size}
        rows.append(row)
        print(
            f"{name:14} {row['ns']:8.2f} {row['ns'] - rows[0]['ns']:8.2f} {row['bytes']:7.2f}"
            f"  {values.get(name, float('nan')):.6f}"
        )
    return rows


def _stream(pipe, gigapixels: float, directory: str) -> None:
    from diadbench.benchmark.metrics import Evaluator

    maps, masks = synthetic(128)
    evaluator = Evaluator(["all"], spill_dir=Path(directory), with_curves=False, memory=64 << 20)
    points, done, start = [], 0, time.process_time()
    computed, spent = [], 0.0
    waiting = [gigapixels / 4, gigapixels / 2, gigapixels]
    rng = np.random.default_rng(0)
    while waiting:
        evaluator.update(np.zeros(128, int), maps * np.float32(rng.uniform(0.7, 1.4)), masks, None, None)
        done += maps.size
        points.append((done / 1e9, memory("VmRSS") / 2**20))
        if done >= waiting[0] * 1e9:
            waiting.pop(0)
            began = time.process_time()
            evaluator.compute()
            spent = time.process_time() - began
            anomalous = int(masks.sum()) * (done // maps.size)
            computed.append((done / 1e9, memory("VmHWM") / 2**20, anomalous, spent))
            start += spent
    pipe.send((points, computed, time.process_time() - start))


def stream(gigapixels: float) -> dict:
    """Feed one growing class that spills to disk; compute at a quarter, half and all of it; print the memory."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as directory:
        process = context.Process(target=_stream, args=(sender, gigapixels, directory))
        process.start()
        sender.close()
        points, computed, feeding = receiver.recv()
        process.join()
    for done, now in points[:: max(1, len(points) // 10)]:
        print(f"{done:7.2f} Gpx fed: {now:7.0f} MB")
    for done, peak, anomalous, seconds in computed:
        rate = f"{seconds / done:.1f} CPU s/Gpx"
        print(f"{done:7.2f} Gpx computed: peak {peak:5.0f} MB, {anomalous} anomalous pixels, {rate}")
    print(f"{feeding / points[-1][0]:.1f} CPU s/Gpx to make and feed the maps")
    return {"points": points, "computed": computed}


def plot(rows: list[dict], growth: dict | None, path: Path) -> None:
    """Draw memory over the pixels fed; without ``growth``, ns a pixel over the number of maps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    if growth:
        axis.plot(*zip(*growth["points"]), label="while feeding")
        sizes, peaks = zip(*(row[:2] for row in growth["computed"]))
        axis.plot(sizes, peaks, marker="o", label="peak so far, with computing")
        axis.set(xlabel="Gpx fed as one class", ylabel="memory, MB", ylim=(0, None))
    else:
        for name in dict.fromkeys(row["name"] for row in rows):
            mine = [row for row in rows if row["name"] == name]
            axis.plot([row["n"] for row in mine], [row["ns"] for row in mine], marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel="maps of 256x256", ylabel="CPU ns a pixel")
    axis.legend()
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[83, 400, 1725], help="numbers of maps")
    parser.add_argument("--slow-up-to", type=int, default=83, help="largest size for sklearn, anomalib, torchmetrics")
    parser.add_argument("--by-name", action="store_true", help="time the metrics that are asked for by name instead")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the fast ones; the best counts")
    parser.add_argument("--stream", type=float, default=0, metavar="GPX", help="memory growth of a class of GPX Gpx")
    parser.add_argument("--out", type=Path, default=Path("metrics_benchmark.png"), help="the plot; rows go beside it")
    options = parser.parse_args()
    if options.by_name:
        rows = [row for n in options.sizes for row in by_name(n, options.repeats)]
        options.out.with_suffix(".json").write_text(json.dumps({"by_name": rows}, indent=1), encoding="utf-8")
        return
    growth = stream(options.stream) if options.stream else None
    sizes = [] if growth else options.sizes
    rows = [row for n in sizes for row in compare(n, n <= options.slow_up_to, options.repeats)]
    plot(rows, growth, options.out)
    options.out.with_suffix(".json").write_text(
        json.dumps({"rows": rows, "growth": growth}, indent=1), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
