"""Try each method of a grid on this device, each in a process of its own with a limit of time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from diadbench.benchmark.cells.meter import own_bytes
from diadbench.benchmark.doctor.finding import Finding, State
from diadbench.benchmark.doctor.trial import told
from diadbench.benchmark.planning.speeds import Speed

#: What changes in a method's options so that it trains two steps: the second is timed. Weights are random: as fast.
_TWO_STEPS: dict[str, dict[str, Any]] = {
    "diad": {"train_steps": 2, "autoencoder_steps": 0, "checkpoint": "", "autoencoder": ""},
    "uniad": {"steps": 2, "checkpoint": None},
    "draem": {"steps": 2},
}
#: Methods whose training step is timed with a single image on a CPU, where a whole batch takes minutes.
_ONE_IMAGE = ("diad", "draem")
_UNTRAINED = ("patchcore", "padim", "global-knn", "pixel-knn", "mean-image")
#: Images that methods without training steps are fitted to.
_FITTED = 12
#: Load for each core above which times are those of a busy machine.
_BUSY = 1.5
#: Memory that training Stable Diffusion's size takes in float32: 16.7 GiB of weights, gradients and Adam, and
#: activations (docs/scale.md).
_DIAD_BYTES = 20e9


@dataclass(frozen=True)
class Wanted:
    """A method as a grid has it.

    Attributes:
        label: In the grid.
        name: Registered name.
        options: All of its options.
        image_size: ``(H, W)``.
        batch_size: Test images a batch.
        device: Where it runs.
        threads: CPU threads.
        tf32: Whether a GPU may use TF32.
    """

    label: str
    name: str
    options: Mapping[str, Any]
    image_size: tuple[int, int]
    batch_size: int
    device: str
    threads: int
    tf32: bool = True


def can_be_tried(name: str) -> bool:
    """Whether it is known how a method is made to train for two steps."""
    return name in _TWO_STEPS or name in _UNTRAINED


def cheap_first(wanted: list[Wanted]) -> list[Wanted]:
    """Order methods so that what takes longest comes last, where little time is left."""
    order = [*reversed(_UNTRAINED), "uniad", "draem", "diad"]
    return sorted(wanted, key=lambda each: order.index(each.name) if each.name in order else -1)


def try_method(wanted: Wanted, limit: float) -> tuple[Finding, Speed | None]:
    """Let a method train for a step and predict once.

    Args:
        wanted: The method.
        limit: Seconds that it may take.

    Returns:
        What was measured, and its speed; ``None`` where nothing was.
    """
    label = wanted.label
    if not can_be_tried(wanted.name):
        told_ = "not tried: not one of the project's own methods; --dry-run knows it once a cell has run here"
        return Finding("speed", label, "note", told_), None
    if limit < 5:
        return Finding("speed", label, "note", "not tried: no time left", "diadbench doctor --full tries all"), None
    free = float(psutil.virtual_memory().available)
    options, share, remark = _trial_options(wanted, free)
    with tempfile.TemporaryDirectory(prefix="diadbench-doctor-") as folder:
        file = Path(folder) / "trial.json"
        images = max(2, min(_batch(options), 64)) if wanted.name in _TWO_STEPS else _FITTED
        one = wanted.name in _ONE_IMAGE and wanted.device == "cpu"
        asked = {
            **{"method": wanted.name, "options": options, "image_size": wanted.image_size, "images": images},
            **{"batch_size": 1 if one else min(wanted.batch_size, images)},
            **{"device": wanted.device, "threads": wanted.threads, "tf32": wanted.tf32},
        }
        file.write_text(json.dumps(asked), encoding="utf-8")
        why = _run(file, limit, free)
        facts = {**told(file), "load": _load()}
    return _finding(wanted, facts, why, remark, share), _speed(wanted, facts, share)


def _load() -> float | None:
    """Return the machine's load over the last minute for each core; ``None`` where the system has no such figure."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (OSError, AttributeError):
        return None


def _batch(options: Mapping[str, Any]) -> int:
    return int(options.get("batch_size") or 8)


def _trial_options(wanted: Wanted, free: float) -> tuple[dict[str, Any], float, str]:
    """Return the options of a trial, how many of its steps a whole step is, and what has to be said of it."""
    options = {**wanted.options, **_TWO_STEPS.get(wanted.name, {})}
    for key in ("backbone_weights", "weights"):
        if key in options:
            options[key] = "random"
    share, remark = float(options.get("accumulate", 1) or 1), ""
    if "accumulate" in options:
        options["accumulate"] = 1
    if wanted.name in _ONE_IMAGE and wanted.device == "cpu":
        share *= _batch(options)
        options["batch_size"] = 1
        remark = f"timed with 1 of the {share:.0f} images of a step"
    if free < known_need(wanted.name, wanted.options, wanted.device):
        options["train_steps"] = 0
        remark = f"training not tried: it needs about {_DIAD_BYTES / 1e9:.0f} GB, {free / 1e9:.0f} are free"
    if wanted.name == "diad" and wanted.device == "cpu":
        options["cache_latents"] = False  # each image is encoded in its step; both images at once take long
    return options, share, remark


def known_need(name: str, options: Mapping[str, Any], device: str) -> float:
    """Return the bytes of memory that a method's training is known to need on a device; 0: not known."""
    is_large = name == "diad" and device == "cpu" and options["size"] == "sd15" and not options["width"]
    trains = is_large and not options["checkpoint"] and options["ablation"] == "none"
    return _DIAD_BYTES if trains else 0.0


def _run(file: Path, limit: float, free: float) -> str:
    """Run a trial; return why it was ended or failed, ``""`` where all went well."""
    command = [sys.executable, "-P", "-m", "diadbench.benchmark.doctor.trial", str(file)]
    log = file.with_suffix(".log")
    end = time.monotonic() + limit
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    return f"ended after {limit:.0f} s; diadbench doctor --full lets it go on"
                held = own_bytes(process.pid)
                if held > 0.95 * free:
                    return f"ended at {held / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB were free"
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    if process.returncode == 0:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"failed: {lines[-1][:300] if lines else f'exit code {process.returncode}'}"


def _finding(wanted: Wanted, facts: dict[str, Any], why: str, remark: str, share: float) -> Finding:
    parts = []
    step = facts.get("step")
    if step:
        parts.append(f"a training step {step * share:.3g} s" + (f" ({remark})" if remark else ""))
    elif remark:
        parts.append(remark)
    elif facts.get("fit") and wanted.name in _UNTRAINED:
        parts.append(f"fitting to {_FITTED} images {facts['fit']:.3g} s")
    seconds = facts.get("test_image")
    if seconds:
        parts.append(f"a prediction {seconds:.3g} s ({1 / seconds:.3g} images a second)")
    if facts.get("gpu_bytes"):
        parts.append(f"{facts['gpu_bytes'] / 1e9:.1f} GB of GPU memory")
    if facts.get("cpu_bytes"):
        parts.append(f"{facts['cpu_bytes'] / 1e9:.1f} GB of memory")
    if wanted.options.get("autoencoder_steps"):
        parts.append("steps of the autoencoder (stage 1) aren't timed, so the hours of a cell aren't known")
    if (facts.get("load") or 0.0) > _BUSY:
        parts.append(f"others ran beside it (a load of {facts['load']:.1f} for each core), so it is faster alone")
    size = "x".join(map(str, wanted.image_size))
    text = f"{size}, {wanted.device}, {wanted.threads} threads: {', '.join([*parts, *([why] if why else [])])}"
    state: State = "fail" if why.startswith("failed") else "note" if why or remark.startswith("training not") else "ok"
    return Finding("speed", wanted.label, state, text, values={**facts, "share": share})


def _speed(wanted: Wanted, facts: dict[str, Any], share: float) -> Speed | None:
    """Return the speed that the facts tell; ``None`` where nothing was measured."""
    if "fit" not in facts:
        return None
    memory = {"cpu_bytes": facts["cpu_bytes"], "gpu_bytes": facts["gpu_bytes"]}
    size = 4.0 * (facts.get("parameters") or 0)
    test = facts.get("test_image")
    if wanted.name in _TWO_STEPS:
        fixed, each = steps_of(wanted)
        untimed = facts["step"] is None or wanted.options.get("autoencoder_steps")
        step = None if untimed else facts["step"] * share
        return Speed(step, fixed, each, test_image=test, disk_bytes=size, **memory)
    if "patches" not in facts:
        return Speed(train_image=facts["fit"] / _FITTED, test_image=test, disk_bytes=size, **memory)
    patches = facts["patches"]
    picking = (facts["pick"] or 0.0) * facts["coreset_size"]
    options = wanted.options
    size = 4.0 * float(options["budget"]) * float(options["dimension"] or 1536)
    return Speed(
        train_image=max(facts["fit"] - picking, 0.0) / _FITTED,
        pick=(facts["pick"] or 0.0) / patches,
        patches=patches / _FITTED,
        ratio=float(options["ratio"]),
        most=float(options["budget"]),
        test_image=test,
        disk_bytes=size,
        **memory,
    )


def steps_of(wanted: Wanted) -> tuple[float, float]:
    """Return the optimiser steps of a method: those that it takes whatever the data, and those for each image."""
    from diadbench import methods

    method: Any = methods.get_class(wanted.name)(**wanted.options)
    few, many = method.steps_for(10_000), method.steps_for(20_000)
    each = (many - few) / 10_000
    return few - 10_000 * each, each
