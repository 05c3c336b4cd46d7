"""A real SIGKILL in the middle of stage 2, in a process of its own; started again, the same weights to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from diadbench.methods.base import RunContext
from diadbench.methods.diad.method import DiAD
from diadbench.methods.training.lightning import Budget
from diadbench.methods.authoring.small_data import small_train

torch.set_num_threads(1)
path, die_at = Path(sys.argv[1]), int(sys.argv[2])
path.mkdir(exist_ok=True)
options = dict(size="tiny", weights="random", autoencoder_steps=2, autoencoder_batch_size=4, autoencoder_accumulate=1,
               train_steps=6, batch_size=2, accumulate=1, lr=1e-3, scale_latents=True, lr_decay=True,
               backbone="tf_efficientnet_lite0", backbone_weights="package")
method = DiAD(**options)
method.stage2 = replace(method.stage2, checkpoint_minutes=0.0)  # a checkpoint before every step


def progress(done, total, what):
    if what == "diffusion":
        print("step", done, flush=True)
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)


run = RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), path, path / "cache", progress=progress)
method.fit(small_train(2, images=4), run)
method.save(path)
"""


def fit(path: Path, die_at: int = 0) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(die_at)], capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("step")]


@pytest.mark.slow
def test_sigkill_in_stage_two_changes_nothing(tmp_path: Path) -> None:
    assert fit(tmp_path / "whole") == (0, [f"step {i}" for i in range(1, 7)])
    assert fit(tmp_path / "killed", die_at=4)[0] == -9
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    code, steps = fit(tmp_path / "killed")
    assert code == 0
    assert steps == ["step 4", "step 5", "step 6"]  # from the checkpoint after step 3
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
