"""Memory of DiAD's stage 2: counted from tensors, and measured.

Static memory (weights, gradients, optimiser states) is counted for ``sd15`` on the meta device, the authors' way and
ours. The peak of a step is counted by running the real step on the meta device and following every storage from
birth to death. The same count at a small width is held against a real run: on the CPU the growth of the resident set
of a process of its own, on a GPU (where there is one) the allocator's peak, for ``sd15`` too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diadbench.methods.diad import config
from diadbench.methods.diad.networks.model import TRAINED, DiADModel
from diadbench.methods.diad.stages import DiffusionStage

GIB = 2**30
CLIP_TEXT = 123_060_480  # parameters of CLIP-L's text encoder
#: bitsandbytes keeps small tensors' moments in float32, others in a byte with a float32 scale for each 256 values.
SMALL, BLOCK = 4096, 256


class Peak(TorchDispatchMode):
    """Follows the bytes of all storages that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage from now on, once."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known and self._known[key]() is storage:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return result


def step_of(sizes: config.ModelConfig, pixels: int, batch: int, device: str) -> tuple[DiADModel, Callable[[], None]]:
    """Build model, stage and optimiser as the method does with cached latents; return it and a function: one step."""
    with torch.device(device):
        model = DiADModel(sizes)
        side = pixels // sizes.reduction
        data = {
            "image": torch.zeros(batch, 3, pixels, pixels),
            "mean": torch.zeros(batch, sizes.latent, side, side),
            "logvar": torch.zeros(batch, sizes.latent, side, side),
        }
    model.vae = None
    model.enable_checkpointing()
    model.unet.train()
    model.sg.train()
    stage = DiffusionStage(model, "adamw", 1e-5, 0)
    optimizer = stage.configure_optimizers()
    model.scheduler.alphas_cumprod = model.scheduler.alphas_cumprod.to(device)

    def step() -> None:
        optimizer.zero_grad()
        stage.loss(data).backward()
        optimizer.step()

    return model, step


def counted_peak(sizes: config.ModelConfig, pixels: int, batch: int) -> int:
    """Return the peak of the second step in bytes, from the meta device."""
    model, step = step_of(sizes, pixels, batch, "meta")
    peak = Peak()
    for tensor in (*model.parameters(), *model.buffers()):
        peak.add(tensor)
    with peak:
        step()
        step()
    return peak.most


def measured_peak(width: int, pixels: int, batch: int, device: str) -> int:
    """Return the peak of two steps in bytes, measured in this process."""
    torch.set_num_threads(1)
    on_gpu = device.startswith("cuda")
    warm = torch.nn.Conv2d(8, 8, 3, device=device)  # libraries' own memory is no part of it
    warm(torch.zeros(1, 8, 32, 32, device=device)).sum().backward()
    before = 0 if on_gpu else _resident()
    _, step = step_of(_sizes(width), pixels, batch, device)
    step()
    step()
    return int(torch.cuda.max_memory_allocated()) if on_gpu else _resident("VmHWM") - before


def static(model: DiADModel) -> dict[str, dict[str, float]]:
    """Return weights, gradients and optimiser states in bytes: the authors' way and ours with the 8-bit option."""
    everything = sum(p.numel() for p in model.parameters())
    theirs = sum(p.numel() for name, p in model.named_parameters() if name.startswith(TRAINED))
    trained = model.trained_parameters()
    ours = sum(p.numel() for p in trained.values())
    networks = sum(p.numel() for part in (model.unet, model.sg) for p in part.parameters())
    unused = theirs - ours  # zero convolutions whose outputs nobody uses: there, but not trained
    frozen = networks - theirs
    states = sum(
        8 * p.numel() if p.numel() < SMALL else 2 * (p.numel() + 4 * -(-p.numel() // BLOCK)) for p in trained.values()
    )
    return {
        "authors": {
            "weights": 4 * (everything + CLIP_TEXT),
            "gradients": 4 * theirs,
            "optimiser": 8 * theirs,
        },
        "adamw": {"weights": 4 * (ours + unused) + 2 * frozen, "gradients": 4 * ours, "optimiser": 8 * ours},
        "adamw8bit": {"weights": 4 * (ours + unused) + 2 * frozen, "gradients": 4 * ours, "optimiser": states},
    }


def _sizes(width: int) -> config.ModelConfig:
    return config.of_width(width, context=2 * width, vae_width=32) if width else config.size("sd15")


def _resident(field: str = "VmRSS") -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def _measure_elsewhere(width: int, pixels: int, batch: int, device: str) -> int:
    command = [sys.executable, __file__, "--measure", json.dumps([width, pixels, batch, device])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=128, help="width of the measured model")
    parser.add_argument("--pixels", type=int, default=128, help="image side of the measured model")
    parser.add_argument("--batch", type=int, default=2, help="images of the measured model")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measured_peak(*json.loads(options.measure)))
        return

    with torch.device("meta"):
        table = static(DiADModel(config.size("sd15")))
    print("sd15, static, stage 2 (GiB):  weights  gradients  optimiser  total")
    for name, parts in table.items():
        cells = "".join(f"{value / GIB:10.2f}" for value in (*parts.values(), sum(parts.values())))
        print(f"  {name:<25}{cells}")
    if not sum(table["adamw8bit"].values()) <= 10 * GIB:
        raise SystemExit("more than 10 GiB with the 8-bit option")
    for batch in (1, 12):
        print(f"sd15, 256 px, batch {batch}, AdamW float32, peak of a step counted: "
              f"{counted_peak(config.size('sd15'), 256, batch) / GIB:.2f} GiB")  # fmt: skip
        if torch.cuda.is_available():
            print(f"  measured on the GPU: {_measure_elsewhere(0, 256, batch, 'cuda') / GIB:.2f} GiB")

    counted = counted_peak(_sizes(options.width), options.pixels, options.batch)
    measured = _measure_elsewhere(options.width, options.pixels, options.batch, "cpu")
    print(f"width {options.width}, {options.pixels} px, batch {options.batch}: counted {counted / GIB:.3f} GiB, "
          f"measured on the CPU {measured / GIB:.3f} GiB, ratio {counted / measured:.3f}")  # fmt: skip
    if not abs(counted / measured - 1) <= 0.1:
        raise SystemExit("count and measurement differ by more than 10 %")


if __name__ == "__main__":
    main()
