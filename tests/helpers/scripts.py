"""Import a script of the project that is no part of the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def script(path: str) -> ModuleType:
    """Return the module of a file, by its path in the checkout (``perf/metrics.py``)."""
    place = ROOT / path
    spec = importlib.util.spec_from_file_location(f"script_{place.stem}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
