"""How long a GPU waits for its host: host time, launches and peak memory of real steps, beside the device's roofline.

    python perf/gpu_idle.py CASE [--gb 80] [--batch N] [--accumulate N] [--no-checkpointing] [--no-graph] [--json FILE]

Steps of real size are trained through the project's own code on a GPU, or, where there is none, on the null GPU of
``tests/nullgpu``: its kernels do nothing, so the wall time of a step there is the host's time of it. The roofline adds
up, over all operations of a step, the larger of the time for their FLOPs and that for their bytes; it is an estimate,
with the share of the peak that torch's kernels usually reach.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "nullgpu"))
CASES = ("diad", "diad-predict", "uniad", "uniad-predict", "draem", "draem-predict", "patchcore", "patchcore-predict")
#: Of a card: GB of memory, sustained FLOP/s by kind of product, sustained bytes/s.
_LIMITS = ("gb", "half", "tf32", "fp32", "fp64", "bw")
CARDS: dict[str, dict[str, float]] = {
    "RTX 4060 Ti, 16 GB": dict(zip(_LIMITS, (16, 44e12 * 0.6, 22e12 * 0.6, 22e12 * 0.6, 0.34e12, 0.288e12 * 0.85))),
    "RTX 4090, 24 GB": dict(zip(_LIMITS, (24, 165e12 * 0.6, 82.6e12 * 0.6, 82.6e12 * 0.6, 1.3e12, 1.0e12 * 0.85))),
    "H100, 80 GB": dict(zip(_LIMITS, (80, 989e12 * 0.45, 494e12 * 0.45, 67e12 * 0.8, 34e12, 3.35e12 * 0.8))),
}
#: Seconds that a kernel takes at least.
LEAST = 2e-6
#: What a launch costs the host in a real driver, in microseconds; the null GPU spends it.
LAUNCH_US = 2.5


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--gb", type=float, default=80.0)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--no-checkpointing", dest="checkpointing", action="store_false")
    parser.add_argument("--no-roofline", dest="roofline", action="store_false")
    parser.add_argument("--no-graph", dest="graph", action="store_false", help="UniAD's steps without a CUDA graph")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--precision", default="bf16-mixed", help="of DiAD's training")
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "adafactor"), help="of DiAD's training")
    parser.add_argument("--frozen-float32", action="store_true", help="DiAD's frozen half in float32")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def relaunched() -> bool:
    """Run this script again in a process that sees a GPU; return False in that process."""
    if os.environ.get("GPU_IDLE_CHILD"):
        return False
    import gpu_stand_in

    reason = gpu_stand_in.missing()
    if reason:
        sys.exit(f"skipped: {reason}")
    chosen = options()
    environment = {**gpu_stand_in.environment(gigabytes=chosen.gb), "GPU_IDLE_CHILD": "1"}
    if not gpu_stand_in.is_real():
        environment["NULLGPU_LAUNCH_US"] = str(LAUNCH_US)
    sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)


class Roofline:
    """Adds up what each operation would take at least, as a mode that sees all of them."""

    VIEWS = (
        *("view", "detach", "alias", "select", "slice", "unsqueeze", "squeeze", "expand", "t.", "permute", "empty"),
        *("transpose", "as_strided", "split", "chunk", "unbind", "set_", "_unsafe_view", "_reshape_alias", "lift"),
    )

    def __init__(self) -> None:
        self.flops: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()
        self.bytes = 0

    def mode(self) -> Any:
        """Return the mode."""
        from torch.utils._python_dispatch import TorchDispatchMode

        outer = self

        class Mode(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                result = func(*args, **(kwargs or {}))
                outer.add(func, args, kwargs or {}, result)
                return result

        return Mode()

    def add(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Add one operation."""
        import torch
        from torch.utils._pytree import tree_leaves
        from torch.utils.flop_counter import flop_registry

        name = str(func).removeprefix("aten.")
        given, made = (
            [value for value in tree_leaves(values) if isinstance(value, torch.Tensor) and value.is_cuda]
            for values in ((args, kwargs), result)
        )
        if name.startswith(self.VIEWS) or not (given or made):
            return
        moved = sum(value.numel() * value.element_size() for value in [*given, *made])
        if name.startswith(("index.", "gather", "index_select")):
            moved = 2 * sum(value.numel() * value.element_size() for value in made)
        self.bytes += moved
        packet = getattr(func, "_overloadpacket", None)
        count = flop_registry[packet](*args, **kwargs, out_val=result) if packet in flop_registry else 0
        if name.startswith(("conv2d.", "linear.")):  # in inference mode these come whole
            count = 2 * made[0].numel() * given[1][0].numel()
        dtype = next((value.dtype for value in given if value.is_floating_point()), torch.float32)
        half, double = dtype in (torch.bfloat16, torch.float16), dtype == torch.float64
        kind = "half" if half else "fp64" if double else "tf32" if count else "fp32"
        self.flops[kind] += count
        for card, limits in CARDS.items():
            self.seconds[card] += max(count / limits[kind], moved / limits["bw"], LEAST)


class Steps:
    """Marks the beginning of each step; what is measured lies between two marks, without the first step."""

    def __init__(self) -> None:
        self.marks: list[dict[str, float]] = []
        #: Bytes that are allocated between two steps: weights, the optimiser's moments, gradients that are kept.
        self.standing = 0

    def mark(self) -> None:
        """Begin a step."""
        from gpu_recorder import counters

        self.marks.append(counters())

    def least(self, key: str) -> float:
        """Return the least of all steps but the first."""
        return min(after[key] - before[key] for before, after in zip(self.marks[1:], self.marks[2:]))

    def mean(self, key: str) -> float | None:
        """Return the mean over all steps but the first; ``None`` for what only the null GPU counts."""
        if key not in self.marks[0]:
            return None
        return (self.marks[-1][key] - self.marks[1][key]) / (len(self.marks) - 2)


def trained(
    module: Any, data: Any, run: Any, budget: Any, fetch: Any, chosen: argparse.Namespace, *, warm: int = 0
) -> dict[str, Any]:
    """Train some steps for host time and launches, then one under the roofline's mode; ``warm`` steps precede them."""
    import lightning.pytorch as pl
    import torch

    from diadbench.methods.training import callbacks
    from diadbench.methods.training import lightning as ours
    from diadbench.methods.training.saving import Checkpoints

    steps, roof = Steps(), Roofline()
    parts = budget.accumulate

    class Watch(pl.Callback):
        mode: Any = None

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == parts * (warm + 2):  # in one step, because it takes the host as long as some launches
                steps.standing = torch.cuda.memory_allocated()
            if batch_idx % parts == 0 and warm <= trainer.global_step < warm + chosen.steps + 2:
                steps.mark()
            if chosen.roofline and batch_idx == parts * (warm + chosen.steps + 2):
                if hasattr(module, "wants_graph"):
                    module.stop_replaying()  # the mode sees the operations of a step, not the kernels of a graph
                self.mode = roof.mode()
                self.mode.__enter__()

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.mode is not None and batch_idx + 1 == parts * (warm + chosen.steps + 3):
                self.mode.__exit__(None, None, None)
                self.mode = None

    Checkpoints.written = False  # the file of a real size is not what is measured
    callbacks.HISTORY_POINTS = 1
    seeds = callbacks.SeedEachStep
    watch = Watch()
    start = seeds.on_train_batch_start
    end = callbacks.Progress.on_train_batch_end

    def began(self: Any, trainer: Any, module: Any, batch: Any, index: int) -> None:
        watch.on_train_batch_start(trainer, module, batch, index)
        start(self, trainer, module, batch, index)

    def ended(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        end(self, trainer, module, outputs, batch, index)
        watch.on_train_batch_end(trainer, module, outputs, batch, index)
        if index + 1 == parts * (warm + chosen.steps + 2 + chosen.roofline):
            told(measured(steps, roof), chosen)
            shutil.rmtree(run.directory.parent)
            os._exit(0)  # the end of a training copies weights and moments to the CPU

    seeds.on_train_batch_start, callbacks.Progress.on_train_batch_end = began, ended  # type: ignore[method-assign]
    torch.cuda.reset_peak_memory_stats()
    ours.train_module(module, data, run, budget, fetch=fetch)
    raise AssertionError("the training ended before it was measured")


def told(found: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Print what was found, and write it to the file that was asked for."""
    print(json.dumps(found), f"({time.process_time():.0f} CPU s)", flush=True)
    if chosen.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
        found |= {"date": time.strftime("%Y-%m-%d"), "commit": commit.stdout.strip()}
        chosen.json.write_text(json.dumps({chosen.case: found}), encoding="utf-8")


def predicted(method: Any, images: Any, chosen: argparse.Namespace) -> dict[str, Any]:
    """Predict batches as a cell does."""
    import torch

    from diadbench.benchmark.cells.scoring.answering import answered

    steps, roof = Steps(), Roofline()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        for _ in range(chosen.steps + 2):
            steps.mark()
            answered(method, images, torch.device("cuda"))
    if chosen.roofline:
        with torch.no_grad(), roof.mode():
            answered(method, images, torch.device("cuda"))
    return measured(steps, roof)


def measured(steps: Steps, roof: Roofline) -> dict[str, Any]:
    """Return what was measured and counted, for one step."""
    import torch

    return {
        "device": torch.cuda.get_device_name(),
        "host_ms": round(1e3 * steps.least("cpu"), 2),
        "launches": steps.mean("launches"),
        **({"kernels_in_graphs": graphed} if (graphed := steps.mean("graph_launches")) else {}),
        "synchronisations": steps.mean("syncs"),
        "tflop": {kind: round(count / 1e12, 4) for kind, count in roof.flops.items() if count},
        "gb_moved": round(roof.bytes / 1e9, 2),
        "roofline_ms": {card: round(1e3 * seconds, 2) for card, seconds in roof.seconds.items()},
        "standing_gib": round(steps.standing / 2**30, 3),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3),
    }


def made_up(count: int, size: int) -> Any:
    import torch

    from diadbench.methods.authoring.small_data import SmallData

    return SmallData(torch.rand(count, 3, size, size), torch.zeros(count, dtype=torch.int64), ("a",))


def context(size: int, root: Path) -> Any:
    import torch

    from diadbench.methods.base import RunContext

    (root / "run").mkdir()
    return RunContext(0, torch.device("cuda"), (size, size), ("a",), root / "run", root / "cache")


def diad(chosen: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Stage 2 of preset ``diad`` at full size: cached latents, frozen half in half precision."""
    import torch

    from diadbench.methods.diad import config
    from diadbench.methods.diad.method import DiAD
    from diadbench.methods.diad.networks.memory import reduced_memory
    from diadbench.methods.diad.networks.model import DiADModel
    from diadbench.methods.diad.stages import DiffusionStage
    from diadbench.methods.training.lightning import Budget

    predicts = chosen.case == "diad-predict"
    with torch.device("cuda"):
        model = DiADModel(config.size("sd15"))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = context(256, root)
    method = DiAD(weights="random", backbone_weights="random", inference_precision="bfloat16")
    if predicts:
        method._prepare(run)
        method.keep(model, run)
        return predicted(method, torch.rand(chosen.batch or 8, 3, 256, 256), chosen)
    batch = chosen.batch or 48
    data = made_up(batch, 256)

    def fetch(indices: Any) -> dict[str, Any]:
        latents = torch.zeros(len(indices), 4, 32, 32)
        return {"image": data.images(indices), "mean": latents, "logvar": latents}

    if chosen.checkpointing:
        model.enable_checkpointing()
    budget = Budget(chosen.steps + 3, batch, chosen.accumulate, precision=chosen.precision)
    half = torch.float16 if stands_in() else torch.bfloat16
    frozen = torch.float32 if chosen.frozen_float32 or "32" in chosen.precision else half
    with reduced_memory(model, dtype=frozen, without_autoencoder=True):
        torch.cuda.empty_cache()
        return trained(DiffusionStage(model, chosen.optimizer, 1e-5, 0), data, run, budget, fetch, chosen)


def uniad(chosen: argparse.Namespace, root: Path) -> dict[str, Any]:
    """The authors' UniAD at 224 pixels."""
    import torch

    from diadbench.methods.training.cuda_graph import WARM_UP
    from diadbench.methods.uniad.method import UniAD

    warm = WARM_UP + 1 if chosen.graph else 0
    method = UniAD(
        backbone="tf_efficientnet_b4", weights="random", steps=warm + chosen.steps + 3, cuda_graph=chosen.graph
    )
    run, data = context(224, root), made_up(64, 224)
    budget = method.settings.budget(len(data), **method._trainer_options)
    module = method.build(run)
    fetch = method.fetch(data, run)
    if chosen.case == "uniad":
        return trained(module, data, run, budget, fetch, chosen, warm=warm)
    method.keep(module, run)
    return predicted(method, torch.rand(chosen.batch or 8, 3, 224, 224), chosen)


def draem(chosen: argparse.Namespace, root: Path) -> dict[str, Any]:
    """The authors' DRAEM at 256 pixels, with procedural textures."""
    import torch

    from diadbench.methods.draem.method import Draem

    method = Draem(steps=chosen.steps + 3, batch_size=chosen.batch or 8)
    run, data = context(256, root), made_up(64, 256)
    module = method.module(data, run)
    if chosen.case == "draem":
        return trained(module, data, run, method.budget(data), method.fetch(data, run), chosen)
    method.keep(module, run)
    return predicted(method, torch.rand(chosen.batch or 8, 3, 256, 256), chosen)


def patchcore(chosen: argparse.Namespace, root: Path) -> dict[str, Any]:
    """The authors' PatchCore: features of a batch, or the search of 8 images in 50,000 patches."""
    import torch

    from diadbench.methods.features.neighbours import Bank
    from diadbench.methods.patchcore import PatchCore

    method, run = PatchCore(weights="random"), context(256, root)
    method._start(run)
    images = torch.rand(chosen.batch or 8, 3, 256, 256)
    if chosen.case == "patchcore-predict":
        method._bank = Bank(torch.zeros(50_000, 1024, device="cuda"))
        return predicted(method, images, chosen)
    steps, roof = Steps(), Roofline()
    matrix = torch.zeros(1024, 128, device="cuda")

    def projected() -> None:
        features = method._features(images.to("cuda")).flatten(2).transpose(1, 2)
        (features.flatten(0, 1) @ matrix).half().cpu()

    for _ in range(chosen.steps + 2):
        steps.mark()
        projected()
    with roof.mode():
        projected()
    return measured(steps, roof)


def stands_in() -> bool:
    """Whether the GPU is the null GPU, whose convolutions know no bfloat16: float16 takes the same way."""
    return "NULLGPU_DIR" in os.environ


def main() -> None:
    if relaunched():
        return
    import torch

    from diadbench.benchmark.cells.determinism import set_tf32
    from diadbench.benchmark.cells.provenance import seed_everything

    chosen = options()
    torch.set_num_threads(1)
    torch.backends.cuda.enable_cudnn_sdp(False)
    method = chosen.case.partition("-")[0]
    seed_everything(0, method)
    set_tf32(True)
    if stands_in():
        from lightning.pytorch.plugins.precision import MixedPrecision

        MixedPrecision.autocast_context_manager = lambda self: torch.autocast("cuda", torch.float16)  # type: ignore[method-assign,assignment]
        torch.bfloat16 = torch.float16
    with tempfile.TemporaryDirectory(prefix="gpu-idle-") as root:
        found = {"diad": diad, "uniad": uniad, "draem": draem, "patchcore": patchcore}[method](chosen, Path(root))
    told(found, chosen)


if __name__ == "__main__":
    main()
