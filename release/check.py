"""Build sdist and wheel and try them: ``python release/check.py`` (``make release``).

What is built is checked by twine; every module is in it exactly once; the wheel is installed into an empty environment
for each CPython that is found, where it runs its self-test without the network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "configs", "datasets", "diadbench", "methods", "reports")
PYTHONS = ("3.11", "3.12", "3.13")
#: one cell of each simplest method on drawn images, and its report
GRID = """\
name: self-test
methods: [mean-image, pixel-knn]
datasets: {toy: {options: {size: 64, train: 4, test_good: 2, test_bad: 1}}}
image_size: 64
"""
SELF_TEST = (
    ["diadbench", "--version"],
    ["diadbench", "methods", "list"],
    ["diadbench", "run", "demo", "--dry-run"],
    ["diadbench", "run", "smoke", "--dry-run"],  # COCO-AD's extra isn't there: the plan says so and goes on
    ["diadbench", "run", "self-test.yaml", "--out", "run"],
    ["diadbench", "doctor", "self-test.yaml"],
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, check, install and try. Returns 0, or 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory of sdist and wheel")
    parser.add_argument("--python", nargs="*", default=list(PYTHONS), help="versions of CPython to try the wheel with")
    options = parser.parse_args(arguments)
    built = build(options.out)
    problems = [f"{path.name}: {line}" for path in built for line in not_once(modules_of(path))]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)], check=True)
    for version in options.python:
        problems += tried(version, next(path for path in built if path.suffix == ".whl"))
    print(*(problems or ["all well"]), sep="\n")
    return int(bool(problems))


def build(out: Path) -> list[Path]:
    """Return sdist and wheel, newly built from the checkout without what an earlier build left there."""
    for stale in (*ROOT.glob("*.egg-info"), ROOT / "build", out):
        shutil.rmtree(stale, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, stdout=subprocess.DEVNULL
    )
    return sorted(out.iterdir())


def modules_of(archive: Path) -> list[str]:
    """Return the Python files of an sdist or a wheel that belong to the package, below its top."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [name for name in wheel.namelist() if name.endswith(".py")]
    with tarfile.open(archive) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    return [name for name in names if name.endswith(".py") and name.split("/")[0] in PACKAGES]


def modules_here() -> list[str]:
    """Return the modules that git has, as they are named in the package."""
    listed = subprocess.run(
        ["git", "ls-files", *(f"{name}/*.py" for name in PACKAGES)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    ).stdout.split()
    return [name if name.startswith("diadbench/") else f"diadbench/{name}" for name in listed]


def not_once(found: Iterable[str]) -> list[str]:
    """Return a line for each module that is missing, unknown or there more than once."""
    counts, wanted = Counter(found), set(modules_here())
    lines = [f"{name} is there {count} times" for name, count in counts.items() if count > 1]
    return [*lines, *(f"{name} is not there" for name in sorted(wanted - set(counts)))] + [
        f"{name} is not in git" for name in sorted(set(counts) - wanted)
    ]


def tried(version: str, wheel: Path) -> list[str]:
    """Return what goes wrong with a wheel in an empty environment of one CPython; nothing where that isn't there."""
    python = interpreter(version)
    if python is None:
        print(f"CPython {version}: not found here, not tried")
        return []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run([python, "-m", "venv", str(place / "env")], check=True)
        install = [str(place / "env/bin/pip"), "install", "--quiet", f"{wheel}[demo]"]
        if subprocess.run(install, check=False).returncode:
            return [f"CPython {version}: {wheel.name} can't be installed"]
        return [f"CPython {version}: {line}" for line in self_test(place)]


def interpreter(version: str) -> str | None:
    """Return the path of a CPython of this version (``3.12``), also of one that pyenv keeps, or ``None``."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, kept)):
        if candidate and subprocess.run([candidate, "--version"], check=False, capture_output=True).returncode == 0:
            return candidate
    return None


def self_test(place: Path) -> list[str]:
    """Run the installed command line, without the network, outside the checkout; return the commands that fail."""
    (place / "self-test.yaml").write_text(GRID, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "DIADBENCH_CACHE": str(place / "cache")}
    failed = []
    for command in SELF_TEST:
        words = [str(place / "env/bin" / command[0]), *command[1:]]
        done = subprocess.run(
            words, cwd=place, env=environment, check=False, capture_output=True, text=True, encoding="utf-8"
        )
        print(f"{' '.join(command)}: {'ok' if done.returncode == 0 else 'failed'}")
        if done.returncode:
            failed.append(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
