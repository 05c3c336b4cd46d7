"""A GPU for tests: a real one where there is one, else a stand-in that is compiled here and computes nothing.

The stand-in is preloaded into a child process (``special.c``). torch's own CUDA code runs there; see ``README.md``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Where Linux lists the GPUs that its driver has found.
LISTED = Path("/proc/driver/nvidia/gpus")
SOURCES = ("special.c", "build.sh")


@functools.cache
def is_real() -> bool:
    """Whether this machine has a GPU that torch can use."""
    return LISTED.is_dir() and any(LISTED.iterdir()) and torch.cuda.is_available()


def missing() -> str:
    """Return why neither a GPU nor the stand-in is at hand; an empty text where one is."""
    if is_real():
        return ""
    if sys.platform != "linux":
        return "no GPU, and the null GPU is for Linux"
    if torch.version.cuda is None:
        return "no GPU, and this torch has no CUDA code for the null GPU to run"
    absent = [tool for tool in ("gcc", "nm", "bash") if shutil.which(tool) is None]
    return f"no GPU, and no {absent[0]} to compile the null GPU" if absent else ""


@functools.cache
def built() -> Path:
    """Return the directory of the compiled stand-in, one for each version of it and of torch; compile it first."""
    digest = hashlib.sha256(torch.__version__.encode())
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    place = ROOT / "build" / f"nullgpu-{digest.hexdigest()[:16]}"  # `make clean` removes it
    if not (place / "libnullgpu.so").is_file():
        place.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="nullgpu-", dir=place.parent))
        command = ["bash", str(HERE / "build.sh"), str(fresh)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHON": sys.executable}, capture_output=True)
        try:
            fresh.rename(place)
        except OSError:  # another process was faster
            shutil.rmtree(fresh, ignore_errors=True)
    return place


def environment(*, count: int = 1, gigabytes: float = 80.0, major: int = 9, minor: int = 0) -> dict[str, str]:
    """Return the environment of a process that sees so many GPUs; on a real one, that of any process."""
    path = os.pathsep.join([str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    common = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    if is_real():
        return common
    place = built()
    return {
        **common,
        "LD_PRELOAD": str(place / "libnullgpu.so"),
        "LD_LIBRARY_PATH": str(place),
        "TORCH_CUDNN_V8_API_DISABLED": "1",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "0",
        "TORCH_DISABLE_NATIVE_JIT": "1",  # Triton's kernels need a real driver
        "NULLGPU_DIR": str(place),
        "NULLGPU_COUNT": str(count),
        "NULLGPU_GB": str(gigabytes),
        "NULLGPU_MAJOR": str(major),
        "NULLGPU_MINOR": str(minor),
        **({"PYTHONPATH": os.pathsep.join([str(HERE / "ddpsite"), path]), "NULLGPU_D2H": "4096"} if count > 1 else {}),
    }


def run_case(case: str, *, timeout: float = 500, gpu: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a case of ``gpu_cases.py`` in a child process; return what it reports.

    Args:
        case: Name of a function in ``gpu_cases``.
        timeout: Seconds.
        gpu: Arguments of :func:`environment`.
        options: Arguments of the case, JSON values.

    Raises:
        AssertionError: The child ended without a report.
    """
    command = [sys.executable, "-P", str(HERE / "gpu_cases.py"), case, json.dumps(options)]
    # The child, the processes that train with it and a child that crashes leave nothing: what they make lies in here.
    with tempfile.TemporaryDirectory(prefix="diadbench-gpu-case-", ignore_cleanup_errors=True) as scratch:
        seen = {**environment(**(gpu or {})), "TMPDIR": scratch}
        done = subprocess.run(command, env=seen, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
            return found
    raise AssertionError(
        f"{case}: no report, exit code {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-4000:]}"
    )
