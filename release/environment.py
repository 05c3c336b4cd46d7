"""Make the virtual environment of a checkout: ``python release/environment.py .venv --extras demo,dev``.

torch comes as its CPU build where there is no NVIDIA GPU and PyTorch's index of CPU builds can be reached: PyPI's build
for Linux brings several GB of CUDA. uv is used where it is installed, else venv and pip. Needs nothing but the standard
library.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH = ("torch>=2.5", "torchvision>=0.20")
#: seconds to wait for the index of CPU builds
PATIENCE = 5.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the environment, or bring one that is there up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path, help="directory of the environment")
    parser.add_argument("--extras", default="", help="extras of the project, separated by commas")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    options = parser.parse_args(arguments)
    for command in commands(options.venv, options.extras):
        print("+", *command, flush=True)
        if not options.dry_run:
            subprocess.run(command, check=True)


def commands(
    venv: Path,
    extras: str,
    *,
    uv: str | None = shutil.which("uv"),
    cpu_build: Callable[[Path], bool] | None = None,
) -> list[list[str]]:
    """Return the commands that make an environment.

    Args:
        venv: Its directory.
        extras: Extras of the project, separated by commas.
        uv: Path of uv, or ``None``.
        cpu_build: Says whether torch's CPU build is to be installed first; :func:`wants_cpu_build` by default.
    """
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    make = [uv, "venv", "--python", sys.executable, str(venv)] if uv else [sys.executable, "-m", "venv", str(venv)]
    install = [uv, "pip", "install", "--quiet", "--python", str(python)] if uv else _pip(python)
    found = [] if python.exists() else [make]
    if (cpu_build or wants_cpu_build)(python):
        found.append([*install, "--index-url", CPU_INDEX, *TORCH])
    return [*found, [*install, "--editable", f".[{extras}]" if extras else "."]]


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]


def wants_cpu_build(python: Path) -> bool:
    """Return whether torch's CPU build is to be installed; say why, either way.

    Args:
        python: The interpreter of the environment, which need not be there yet.
    """
    if _has(python, "torch"):
        return False
    if sys.platform != "linux" or platform.machine() != "x86_64":
        print(f"torch: PyPI's build, which is the right one on {sys.platform} {platform.machine()}", flush=True)
        return False
    if gpu := _gpu():
        print(f"torch: PyPI's build with CUDA, for {gpu}", flush=True)
        return False
    if problem := _unreachable(f"{CPU_INDEX}/torch/"):
        print(f"torch: no GPU, but {CPU_INDEX} can't be reached ({problem}): PyPI's build, several GB", flush=True)
        return False
    print(f"torch: no GPU, so the CPU build from {CPU_INDEX}", flush=True)
    return True


def _has(python: Path, module: str) -> bool:
    if not python.exists():
        return False
    check = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([str(python), "-c", check], check=False).returncode == 0


def _gpu() -> str:
    """Return the name of the first NVIDIA GPU that the driver lists, or nothing."""
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(query, check=False, capture_output=True, text=True, encoding="utf-8")
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def _unreachable(address: str) -> str:
    """Return why an address can't be read, or nothing."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE):
            return ""
    except (urllib.error.URLError, OSError) as error:
        return str(getattr(error, "reason", error))


if __name__ == "__main__":
    main()
