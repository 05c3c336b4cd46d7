"""GPUs are those of this job only: by the names that CUDA was given, whatever they are, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_tools import drain

from diadbench.benchmark.cells.provenance import pick_device
from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.gpus import Gpus, visible_gpus
from diadbench.benchmark.engines.local import LocalEngine
from diadbench.benchmark.planning.grid import Grid, parse_grid
from diadbench.benchmark.planning.threads import cells_at_once, gpus_of_a_cell, settled
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.errors import Skip, UserError

MakeJob = Callable[..., Job]
UUIDS = ["GPU-5fd4b8a6-1f0e-4c5e-9a3b-000000000004", "GPU-5fd4b8a6-1f0e-4c5e-9a3b-000000000005"]
MIGS = ["MIG-0a5c6d3e-1111-2222-3333-444444444444", "MIG-GPU-5fd4b8a6-1f0e-4c5e-9a3b-000000000005/1/0"]
NAMES = [["4", "5"], UUIDS, MIGS]
GRID: dict[str, Any] = {"name": "g", "methods": {"mean-image": {}}, "datasets": {"toy": {}}}


def grid(**changes: Any) -> Grid:
    return parse_grid({**GRID, **changes})


def seen(job: Job) -> str | None:
    """``CUDA_VISIBLE_DEVICES`` of the cell's process."""
    found: str | None = CellRecord(job.cell).status["visible"]
    return found


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ("4,5", ["4", "5"]),
        (" 4 , 5", ["4", "5"]),
        (",".join(UUIDS), UUIDS),
        ("GPU-5fd4,GPU-77", ["GPU-5fd4", "GPU-77"]),
        (",".join(MIGS), MIGS),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
    ],
)
def test_names_are_read_as_cuda_reads_them(told: str, names: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": told}) == names


def test_without_a_word_the_gpus_are_those_that_linux_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diadbench.benchmark.engines.gpus.LISTED", str(tmp_path / "gpus"))
    assert visible_gpus({}) == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    assert visible_gpus({}) == ["0", "1"]


@pytest.mark.parametrize("names", NAMES)
def test_the_local_engine_hands_on_the_names(make_job: MakeJob, monkeypatch: Any, names: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    jobs = [make_job("a", {"gpus": 1}, sleep=0.5), make_job("b", {"gpus": 1}, sleep=0.5)]
    with LocalEngine() as engine:
        assert engine.slots == 2
        for job in jobs:
            engine.submit(job)
        drain(engine, 2)
    assert [seen(job) for job in jobs] == names


def test_slots_are_gpus_by_devices(monkeypatch: pytest.MonkeyPatch, make_job: MakeJob) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    engine = LocalEngine()
    engine.share_out(2)
    assert engine.slots == 2
    jobs = [make_job("a", {"gpus": 2}, sleep=0.5), make_job("b", {"gpus": 2}, sleep=0.5)]
    with engine:
        for job in jobs:
            engine.submit(job)
        drain(engine, 2)
    assert [seen(job) for job in jobs] == ["2,3", "6,7"]
    engine.share_out(3)
    assert engine.slots == 1
    engine.share_out(0)
    assert engine.slots == 1, "cells on a CPU don't count GPUs"
    with pytest.raises(UserError, match=r"devices: 8, but this process may use 4 GPUs \(2, 3, 6, 7\)"):
        engine.share_out(8)
    with pytest.raises(UserError, match=r"engine_options.gpus: 5, but this process may use 4 GPUs"):
        LocalEngine(gpus=5)
    with pytest.raises(UserError, match="CUDA gives a process one MIG device; set devices: 1"):
        Gpus(MIGS).slots(2)


def test_no_gpu_and_an_empty_list_leave_a_cell_its_cpu(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    job = make_job("a", {"gpus": 1})
    with LocalEngine() as engine:
        engine.share_out(1)
        assert engine.slots == 1
        engine.submit(job)
        drain(engine, 1)
    assert seen(job) == ""
    with pytest.raises(UserError, match=r"may use no GPU \(CUDA_VISIBLE_DEVICES names none\)"):
        LocalEngine(gpus=2)


def test_a_named_gpu_is_the_second_of_the_visible_ones(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    engine = LocalEngine()
    engine.share_out(1, named=1)
    assert engine.slots == 1, "all cells want the same one"
    job = make_job("a", {"gpus": 1, "named": 1})
    with engine:
        engine.submit(job)
        drain(engine, 1)
    assert seen(job) == "4,5", "cuda:1 of the cell is cuda:1 of whoever wrote it"
    with pytest.raises(
        UserError, match=r"device: cuda:2, but this process may use 2 GPUs \(4, 5\), counted from cuda:0"
    ):
        engine.share_out(1, named=2)


def test_a_named_gpu_is_torchs_own_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    with pytest.raises(Skip, match="'cuda:2' was asked for, but torch finds 2 GPU"):
        pick_device("cuda:2")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "ray"}, "engine ray gives each cell its GPUs, so it can't name one; write cuda"),
        ({"engine": "slurm"}, "engine slurm gives each cell its GPUs, so it can't name one; write cuda"),
        ({"devices": 2}, "device: cuda:1 is one device, devices: 2 are several"),
    ],
)
def test_a_named_gpu_that_means_nothing_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        grid(device="cuda:1", **changes)
    assert grid(device="cuda:1").device == "cuda:1"


@pytest.mark.parametrize(
    ("visible", "changes", "gpus", "at_once"),
    [
        ("", {}, 0, 1),
        ("4,5", {}, 1, 2),
        ("4,5,6,7", {"devices": 2}, 2, 2),
        ("4,5", {"device": "cpu", "devices": 2}, 0, 1),
        ("4,5", {"device": "cuda:1"}, 1, 1),
        ("4,5", {"jobs": 3}, 1, 3),
        ("", {"engine": "ray"}, 0, 1),
        ("4,5", {"engine": "ray"}, 1, 2),
        ("", {"engine": "ray", "engine_options": {"address": "auto"}}, 1, None),
        ("", {"engine": "slurm"}, 1, None),
        ("", {"engine": "slurm", "jobs": 16}, 1, 16),
        ("", {"engine": "slurm", "engine_options": {"cluster": "local"}}, 0, 1),
    ],
)
def test_a_cells_gpus_are_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, changes: dict[str, Any], gpus: int, at_once: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made = grid(**changes)
    compute = settled(made, RunDirectory(tmp_path / "run", must_exist=False))
    assert (gpus_of_a_cell(made, compute), cells_at_once(made, compute)) == (gpus, at_once)


@pytest.mark.parametrize("names", NAMES)
def test_submitits_local_executor_gets_the_names(make_job: MakeJob, monkeypatch: Any, names: list[str]) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    jobs = [make_job("a", {"gpus": 1}, sleep=0.5), make_job("b", {"gpus": 1}, sleep=0.5)]
    with make("slurm", cluster="local") as engine:
        engine.share_out(1)
        assert engine.slots == 2
        for job in jobs:
            engine.submit(job)
        drain(engine, 2)
    assert sorted(str(seen(job)) for job in jobs) == sorted(names)


def test_slurm_is_asked_for_the_gpus_and_names_them_itself(make_job: MakeJob, slurm: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")  # of the login node: nothing to the nodes
    job = make_job("a", {"gpus": 2, "threads": 1})
    with make("slurm", cluster="slurm") as engine:
        engine.share_out(2)
        engine.submit(job)
        drain(engine, 1)
    assert "#SBATCH --gpus-per-node=2" in (slurm / "100.sh").read_text()


@pytest.mark.parametrize(
    ("nodes", "gpus", "slots"),
    [([4, 4], 1, 8), ([4, 4], 2, 4), ([3, 3], 2, 2), ([0, 0], 1, 2), ([4, 0], 0, 2), ([1], 2, 1)],
)
def test_rays_slots_are_its_nodes_gpus_by_devices(monkeypatch: Any, nodes: list[int], gpus: int, slots: int) -> None:
    ray = pytest.importorskip("ray")
    told = [{"Alive": True, "Resources": {"CPU": 8.0, **({"GPU": float(each)} if each else {})}} for each in nodes]
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: told)
    engine = make("ray")
    engine.share_out(gpus)
    assert engine.slots == slots
    engine = make("ray", jobs=5)
    engine.share_out(gpus)
    assert engine.slots == 5


@pytest.mark.slow
@pytest.mark.parametrize("names", NAMES)
def test_ray_hands_on_the_names(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    jobs = [make_job("a", {"gpus": 1}, sleep=1), make_job("b", {"gpus": 1}, sleep=1)]
    with make("ray", init={"num_cpus": 2, "num_gpus": 2}) as engine:
        engine.share_out(1)
        assert engine.slots == 2
        for job in jobs:
            engine.submit(job)
        drain(engine, 2)
    assert sorted(str(seen(job)) for job in jobs) == sorted(names)


def test_anomalib_models_train_on_the_named_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diadbench.methods.anomalib_models import training_run
    from diadbench.methods.training import lightning

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        training_run.pl, "Trainer", lambda **told: asked.append(told) or SimpleNamespace(fit=lambda *_, **__: None)
    )
    for device in ("cuda:1", "cuda", "cpu"):
        run = SimpleNamespace(device=torch.device(device), directory=tmp_path, seed=0, logger=None, devices=1)
        model = SimpleNamespace(trainer_arguments={"devices": 7}, learning_type=None)
        training_run.train_model(model, [], run, batch_size=1, max_epochs=1, max_steps=1)  # type: ignore[arg-type]
        assert lightning._devices(run) == asked[-1]["devices"]  # type: ignore[arg-type]
    assert [told["devices"] for told in asked] == [[1], [0], 1]
    assert json.dumps([told["accelerator"] for told in asked]) == '["gpu", "gpu", "cpu"]'
