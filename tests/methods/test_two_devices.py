"""Two processes that share each batch end with the weights of one: same images, same noise (gloo, on the CPU)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from diadbench.benchmark.cells.provenance import seed_everything
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.registry import get_class
from diadbench.methods.training import draws
from diadbench.methods.training.callbacks import Arithmetic
from diadbench.methods.training.lightning import Budget, train_module
from tests.helpers.shared_draem import SharedDraem

UNIAD: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0",
    "weights": "random",
    "neighbor_size": 3,
    "hidden": 16,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feedforward": 16,
    "dropout": 0.0,  # torch draws it inside its own operations
    "jitter_prob": 0.5,
    "batch_size": 4,
    "steps": 4,
}
DIAD: dict[str, Any] = {
    "size": "tiny",
    "weights": "random",
    "autoencoder_steps": 1,
    "autoencoder_batch_size": 4,
    "autoencoder_accumulate": 1,
    "train_steps": 2,
    "batch_size": 4,
    "accumulate": 1,
    "lr": 1e-3,
    "backbone": "tf_efficientnet_lite0",
    "backbone_weights": "random",
}
DRAEM: dict[str, Any] = {"steps": 3, "width": 4, "segmentation_width": 4, "batch_size": 4, "lr": 1e-3}
CASES = [
    pytest.param("uniad", UNIAD, {"devices": 2}, marks=pytest.mark.slow),
    pytest.param("diad", DIAD, {"devices": 2}, marks=pytest.mark.slow),
    pytest.param("uniad", UNIAD, {"split": 2}),
    pytest.param("diad", DIAD, {"split": 2}, marks=pytest.mark.slow),
]


def fitted(
    root: Path, name: str | type[Any], options: dict[str, Any], **more: Any
) -> tuple[dict[str, Tensor], RunContext]:
    (root / "run").mkdir(parents=True)
    run = RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), root / "run", root.parent / "cache", **more)
    method = (get_class(name) if isinstance(name, str) else name)(**options)
    method.fit(small_train(2, images=5), run)
    return {key: value.detach().clone() for key, value in method.fitted().state_dict().items()}, run  # type: ignore[attr-defined]


def far_apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the share of weights that differ by more than rounding.

    Adam moves a weight by its learning rate whatever the size of its gradient, so that a gradient of nearly zero, which
    is all rounding, may move it either way.
    """
    keys = [key for key, value in one.items() if value.is_floating_point() and key != "last_loss"]  # a share's own
    pairs = [(one[key].flatten(), other[key].flatten()) for key in keys]
    close = torch.cat([torch.isclose(second, first, rtol=1e-3, atol=2e-5) for first, second in pairs])
    return 1 - float(close.float().mean())


@pytest.mark.parametrize(("name", "options", "divided"), CASES)
def test_a_divided_batch_trains_as_the_whole(
    tmp_path: Path, name: str, options: dict[str, Any], divided: dict[str, int]
) -> None:
    one, _ = fitted(tmp_path / "one", name, options)
    other, run = fitted(tmp_path / "other", name, options, **divided)
    assert any("same images" in note and "noise" in note for note in run.notes)
    assert far_apart(one, other) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("divided", [{"devices": 2}, {"split": 2}])
def test_draem_paints_the_same_anomalies_into_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, divided: dict[str, int]
) -> None:
    found, weights = [], []
    for name, more in (("one", {}), ("other", divided)):
        monkeypatch.setenv("DIADBENCH_TEST_LOG", str(tmp_path / f"{name}.log"))
        trained, _ = fitted(tmp_path / name, SharedDraem, DRAEM, **more)
        weights.append(trained)
        lines = [line.split() for line in (tmp_path / f"{name}.log").read_text().splitlines()]
        found.append([(int(step), int(rank), digests) for step, rank, *digests in lines])
    assert len(found[0]) == len(found[1]) == 3 * 4, "the configuration's images a step, not twice as many"
    assert sorted((step, digests) for step, _, digests in found[0]) == sorted((s, d) for s, _, d in found[1])
    assert {rank for _, rank, _ in found[1]} == set(range(divided.get("devices", 1)))
    assert any(digests[0] != digests[1] for _, _, digests in found[0]), "something was painted"
    assert far_apart(*weights) < 0.01


def test_other_noise_would_be_seen(tmp_path: Path) -> None:
    """What the tests above compare does depend on the noise: another seed's weights are further away."""
    one, _ = fitted(tmp_path / "one", "uniad", UNIAD)
    silent, _ = fitted(tmp_path / "other", "uniad", {**UNIAD, "jitter": 0.0})
    assert far_apart(one, silent) > 0.2


def test_a_share_takes_its_rows_of_the_whole_batchs_numbers() -> None:
    like = torch.zeros(5, 3, 4, 4)
    torch.manual_seed(9)
    first, steps, second = draws.normal(like), draws.integers(1000, 5, like.device), draws.normal(like)
    torch.manual_seed(9)
    assert torch.equal(first, torch.randn_like(like))
    assert torch.equal(steps, torch.randint(1000, (5,)))
    try:
        draws.begin_batch(9, 5, (1, 4))
        mine = torch.zeros(2, 3, 4, 4)
        assert torch.equal(draws.normal(mine), first[[1, 4]])
        assert torch.equal(draws.integers(1000, 2, like.device), steps[[1, 4]])
        assert torch.equal(draws.normal(mine), second[[1, 4]])
        for channels in (3, 6):  # in channels-last order, and the first half of its channels
            last = torch.zeros(5, channels, 4, 4).contiguous(memory_format=torch.channels_last)[:, :3]
            torch.manual_seed(9)
            whole = torch.randn_like(last)
            draws.begin_batch(9, 5, (0, 3))
            assert torch.equal(draws.normal(last[:2]), whole[[0, 3]])
    finally:
        draws.end_training()
    assert draws.rows(3) == (0, 1, 2)


class ToldSettings(pl.LightningModule):
    """Writes down how its process computes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        with open(os.environ["DIADBENCH_TEST_LOG"], "a", encoding="utf-8") as file:
            file.write(json.dumps([self.global_rank, *settings()]) + "\n")
        loss: Tensor = self.net(batch["image"].mean((2, 3))).square().mean()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.5)


def settings() -> list[Any]:
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return [*strict, *Arithmetic.now()]


@pytest.mark.slow
@pytest.mark.parametrize("tf32", [True, False])
def test_both_processes_compute_as_the_cell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tf32: bool) -> None:
    monkeypatch.setenv("DIADBENCH_TEST_LOG", str(tmp_path / "log"))
    strict, before = settings()[:2], Arithmetic.now()
    try:
        seed_everything(0, "draem", tf32=tf32)
        torch.set_num_threads(before.threads + 1)
        own = settings()
        (tmp_path / "run").mkdir()
        run = RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), tmp_path / "run", tmp_path / "cache", devices=2)
        train_module(ToldSettings(), small_train(2, images=2), run, Budget(2, 2))
    finally:
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        before.set()
    found = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert sorted(found) == sorted([rank, *own] for rank in (0, 0, 1, 1))
