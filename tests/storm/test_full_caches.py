"""A disk that is really full where each of the caches wants to be written: one line says so, and the rerun works."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from weather import small_disk

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.runs.runner import Run, run_grid
from diadbench.common.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_run import InProcess

LITE = {"backbone": "tf_efficientnet_lite0"}
UNIAD: dict[str, Any] = {
    "steps": 2,
    "batch_size": 2,
    "hidden": 32,
    "heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
UNIAD |= {"feedforward": 64, "neighbor_size": 3, "weights": "package", **LITE}
DIAD: dict[str, Any] = {"size": "tiny", "weights": "random", "autoencoder_steps": 2, "train_steps": 2, "batch_size": 2}
DIAD |= {"accumulate": 1, "steps": 2, "autoencoder_batch_size": 2, "autoencoder_accumulate": 1}
DIAD |= {"backbone_weights": "package", **LITE}
PATCHCORE: dict[str, Any] = {"weights": "package", "levels": [2, 3], "ratio": 0.05, **LITE}
#: What is written, by which module, for which method, and what lies on the small disk.
CACHES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "decoded images": ("datasets.decoding.decoder", "mean-image", {}, "cache"),
    "features": ("methods.features.feature_cache", "uniad", UNIAD, "cache"),
    "patches": ("methods.patchcore.patches", "patchcore", PATCHCORE, "run"),
    "latents": ("methods.diad.latents", "diad", DIAD, "run"),
}
#: What is left of the disk: a status fits into it, no cache does.
LEFT = 48 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 128) as (place, mounted):
        if not mounted:
            pytest.skip("only root can mount a small disk")
        yield place


def fill(disk: Path) -> None:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(disk / "ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - LEFT, 1))


def filled_before(build: Callable[..., Any], disk: Path, asked: list[str]) -> Callable[..., Any]:
    """Return a cache's ``build`` that finds the disk full when it begins."""

    def full(plan: Any, progress: Any) -> Any:
        if not (disk / "ballast").exists():
            fill(disk)
        asked.append(plan.what)
        return build(plan, progress)

    return full


@pytest.mark.parametrize(
    "what", [pytest.param(name, marks=[pytest.mark.slow] if name == "latents" else []) for name in CACHES]
)
def test_a_full_disk_is_a_line_and_the_same_command_goes_on(
    what: str, tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, method, options, on_disk = CACHES[what]
    where = {name: (disk if name == on_disk else tmp_path) / name for name in ("cache", "run")}
    monkeypatch.setenv("DIADBENCH_CACHE", str(where["cache"]))
    where["cache"].mkdir()
    toy = {"dataset": "toy", "options": {"size": 64, "train": 40, "test_good": 2, "test_bad": 1}}
    grid = {"name": "full", "methods": {"one": {"method": method, "options": options}}, "datasets": {"toy": toy},
            "image_size": 64, "device": "cpu", "threads": 1}  # fmt: skip

    def run() -> Run:
        return run_grid(parse_grid(grid), where["run"], engine=InProcess(), quiet=True)

    module = importlib.import_module(f"diadbench.{place}")
    asked: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(module, "build", filled_before(module.build, disk, asked))
        if what == "decoded images":
            with pytest.raises(UserError) as error:
                run()
            line = str(error.value)
        else:
            [cell] = run().directory.cells()
            assert cell.state == "error", cell.status
            line = cell.status["reason"]
    assert asked[0] == what
    assert "\n" not in line
    assert "disk full" in line
    assert str(disk) in line
    assert ("DIADBENCH_CACHE" if on_disk == "cache" else "--out") in line, "what to do"
    (disk / "ballast").unlink()
    found = run()
    [cell] = found.directory.cells()
    assert cell.state == "done", (cell.status.get("reason"), (cell.directory / "log.txt").read_text()[-3000:])
