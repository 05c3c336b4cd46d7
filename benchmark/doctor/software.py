"""Versions of what is installed against the bounds in the distribution's own metadata, and the drivers."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator

from packaging.requirements import Requirement

from diadbench.benchmark.doctor.finding import Finding

VersionOf = Callable[[str], str]
#: Packages whose versions a report names even where they are as they should be.
_TOLD = ("torch", "torchvision", "lightning", "timm", "diffusers", "transformers", "anomalib", "numpy")


def look_at_software(version_of: VersionOf = importlib.metadata.version) -> list[Finding]:
    """Compare each requirement of the installed distribution with what is there.

    Args:
        version_of: Returns the version of a distribution, or raises ``PackageNotFoundError``.
    """
    found = [Finding("software", "Python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    try:
        required = importlib.metadata.requires("diadbench") or []
    except importlib.metadata.PackageNotFoundError:
        told = "diadbench is no installed distribution, so the bounds of its requirements aren't known"
        return [*found, Finding("software", "diadbench", "fail", told, "install it: pip install -e .")]
    wanted = [Requirement(text) for text in required]
    base = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [*found, *_versions(base, version_of)]


def _versions(wanted: list[Requirement], version_of: VersionOf) -> Iterator[Finding]:
    for each in wanted:
        install = f"pip install '{each.name}{each.specifier}'"
        try:
            version = version_of(each.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("software", each.name, "fail", f"not installed, expected {each.specifier or 'any'}", install)
            continue
        values = {"version": version, "bounds": str(each.specifier)}
        if not each.specifier.contains(version, prereleases=True):
            yield Finding("software", each.name, "fail", f"{version}, expected {each.specifier}", install, values)
        elif each.name in _TOLD:
            yield Finding("software", each.name, "ok", version, values=values)


def absent_packages() -> list[Finding]:
    """Return a failure for each required package that can't be found, with the command that installs it."""
    return [each for each in look_at_software() if each.state == "fail" and not each.values]


def look_at_device(asked: str) -> tuple[str, list[Finding]]:
    """Return the device that a grid runs on here, and what is known of it.

    Args:
        asked: ``device`` of the grid. ``auto`` is a GPU where there is one.
    """
    import torch

    kind = asked.partition(":")[0]
    built = f"torch {torch.__version__}, built for {_built_for()}"
    here: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    device = ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked
    if kind in here and not here[kind]():
        driver = _driver()
        why = f"the grid asks for {asked}, torch sees none here ({built}; {driver or 'no NVIDIA driver found'})"
        advice = "what follows is about the CPU; device=cpu runs there, on a GPU machine look again"
        if driver:
            advice = f"install a build of torch for this driver ({driver}): https://pytorch.org; {advice}"
        return "cpu", [Finding("software", "device", "fail" if driver else "note", why, advice)]
    return device, [Finding("software", "device", "ok", f"{_named(device)}; {built}")]


def _built_for() -> str:
    import torch

    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"


def _named(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        facts = torch.cuda.get_device_properties(torch.device(device))
        return f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, driver {_driver() or 'unknown'}"
    return f"{device} ({platform.machine()}, {torch.get_num_threads()} threads)"


def _driver() -> str:
    """Return the version of the NVIDIA driver; ``""`` where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=20, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    return lines[0] if lines else ""
