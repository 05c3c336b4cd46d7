"""Record the origin of results: seeds, device, versions, hardware, commit."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.cells.determinism import be_deterministic, set_tf32
from diadbench.common.errors import Skip
from diadbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "anomalib",
    "diffusers",
    "transformers",
    "timm",
    "torchmetrics",
    "numpy",
    "pandas",
    "scipy",
    "numba",
    "pillow",
)


def seed_everything(seed: int, method: str, *, tf32: bool = True) -> None:
    """Seed Python, numpy and torch, and set how torch computes: deterministic algorithms, TF32.

    Args:
        seed: From 0 to 2**64 - 1; numpy gets it modulo 2**32.
        method: Name of the method that runs next; see
            :func:`~diadbench.benchmark.cells.determinism.be_deterministic`.
        tf32: See :func:`~diadbench.benchmark.cells.determinism.set_tf32`.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below us still draw from the global state
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    be_deterministic(method)
    set_tf32(tf32)


def random_state(device: torch.device) -> dict[str, NDArray[Any]]:
    """Return the state of all global random numbers as arrays: Python's, numpy's, torch's, and the device's."""
    import numpy as np
    import torch

    version, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - what seed_everything seeds
    state = {
        "python": np.array([version, *words], dtype=np.int64),
        "python_gauss": np.array([] if gauss is None else [gauss]),
        "numpy": np.asarray(keys),
        "numpy_gauss": np.array([place, has_gauss, cached], dtype=np.float64),
        "torch": torch.get_rng_state().numpy(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).numpy()
    return state


def set_random_state(state: Mapping[str, NDArray[Any]], device: torch.device) -> None:
    """Restore the state of the random number generators that :func:`random_state` returned."""
    import numpy as np
    import torch

    version, *words = state["python"].tolist()
    random.setstate((version, tuple(words), state["python_gauss"].tolist()[0] if len(state["python_gauss"]) else None))
    place, has_gauss, cached = state["numpy_gauss"].tolist()
    np.random.set_state(("MT19937", state["numpy"], int(place), int(has_gauss), cached))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["torch"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"]), device)


def pick_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:1``. Raises Skip when the device doesn't exist."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Skip(f"device {name!r} was asked for, but torch finds no GPU; use device: auto or cpu")
    device = torch.device(name)
    if device.type == "cuda" and device.index is not None:
        if device.index >= torch.cuda.device_count():
            raise Skip(f"device {name!r} was asked for, but torch finds {torch.cuda.device_count()} GPU, from cuda:0")
        torch.cuda.set_device(device)  # for code that names the device "cuda" without a number
    return device


def host() -> dict[str, Any]:
    """Return the provenance that doesn't need torch: versions, processor, memory, commit of the code."""
    import psutil

    return {
        "diadbench": __version__,
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "host": socket.gethostname(),
        "command": sys.argv,
        **commit(),
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Return :func:`host`, and torch's description of the device that the cell ran on."""
    import torch

    found = {**host(), "device": str(device), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found


@functools.cache
def commit() -> dict[str, Any]:
    """Return the git commit of this code and whether files have changed since; ``None`` outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        ask = functools.partial(
            subprocess.run, cwd=root, capture_output=True, text=True, check=True, timeout=10, encoding="utf-8"
        )
        head = ask(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = ask(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(changed)}


def version_of(package: str) -> str | None:
    """Return the version of an installed package, ``None`` when it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
