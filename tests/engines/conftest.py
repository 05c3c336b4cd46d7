from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diadbench.benchmark.engines.base import Job

sys.path.insert(0, str(Path(__file__).parent))  # engine_tools
from engine_tools import FAKE, ignoring


@pytest.fixture
def cheap_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FAKE), os.environ.get("PYTHONPATH")])))


@pytest.fixture
def make_job(tmp_path: Path, cheap_cells: None) -> Callable[..., Job]:
    def make(name: str, limits: dict[str, Any] | None = None, **does: Any) -> Job:
        directory = tmp_path / "run" / "cells" / "toy" / name / "multi-class" / "seed0"
        directory.mkdir(parents=True)
        config = {"identity": name, "protocol": "exact", "method_info": {}, "dataset_info": {}, "does": does}
        (directory / "cell.yaml").write_text(yaml.safe_dump(config))
        return Job(directory, **{"threads": 1, **(limits or {})})

    return make


@pytest.fixture
def in_background() -> Iterator[None]:
    """What processes inherit that are started by ``nohup ... &``: they ignore SIGINT and SIGHUP."""
    with ignoring(signal.SIGINT, signal.SIGHUP):
        yield


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import fake_slurm

    fake_slurm.install(tmp_path / "bin")
    home = tmp_path / "slurm-state"
    home.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(home))
    return home
