"""A step sees the configuration's images, whatever the number of devices and parts, and its gradient is theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.training.feeding import BatchOrder, Feeder, Images, ImagesAlone, TwoPartFetch, sent_ahead
from diadbench.methods.training.lightning import Budget, train_module
from diadbench.methods.training.sharing import Shares


class Linear(pl.LightningModule):
    """A mean over images, without randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.seen: list[int] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen += batch["index"].tolist()
        return self.net(batch["image"].mean((2, 3))).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.5)


def context(path: Path, **more: Any) -> RunContext:
    (path / "run").mkdir(parents=True)
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), path / "run", path / "cache", **more)


@pytest.mark.parametrize("whole_epochs", [False, True])
def test_every_image_is_in_one_share_and_weights_make_the_mean(whole_epochs: bool) -> None:
    order = BatchOrder(10, 6, 0, whole_epochs=whole_epochs)
    for world, split in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 7)):
        shares = Shares(world, split)
        for batch in range(4):
            indices = order(batch)
            assert order.size(batch) == len(indices)
            values = torch.rand(10, generator=torch.Generator().manual_seed(1))
            total = torch.zeros(())
            for rank in range(world):
                for part in range(split):
                    mine = shares.of(indices, rank, part)
                    total += shares.weight(len(indices), rank, part) * values[mine].mean() / (world * split)
            assert float(total) == pytest.approx(float(values[indices].mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("shares", "on_gpu", "told"),
    [
        (Shares(world=2), False, "batch norms see each device's share"),
        (Shares(world=2), True, ""),
        (Shares(split=2), True, "batch norms see the parts"),
    ],
)
def test_what_batch_norms_see_is_told_where_there_are_any(shares: Shares, on_gpu: bool, told: str) -> None:
    (plain,) = shares.notes(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(1, 4)), on_gpu=on_gpu)
    (normed,) = shares.notes(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), on_gpu=on_gpu)
    assert "batch norms" not in plain
    assert normed == (f"{plain}; {told}" if told else plain)


def test_more_devices_than_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"devices: 4, but a batch of the training has 2 images"):
        Shares(world=4).check(2)


@pytest.mark.parametrize("whole_epochs", [False, True])
def test_parts_of_a_batch_train_as_the_whole(tmp_path: Path, whole_epochs: bool) -> None:
    data = small_train(2, images=5)
    found = []
    for split in (1, 2, 4):
        torch.manual_seed(0)
        module, run = Linear(), context(tmp_path / str(split), split=split)
        train_module(module, data, run, Budget(6, 4, accumulate=2, whole_epochs=whole_epochs))
        found.append(module)
        assert bool([note for note in run.notes if "divided into" in note]) == (split > 1)
    if not whole_epochs:  # of an epoch's last batch some shares have no image of their own
        assert sorted(found[0].seen) == sorted(found[1].seen)
    for other in found[1:]:
        torch.testing.assert_close(other.net.weight, found[0].net.weight, rtol=1e-5, atol=1e-6)


def test_workers_and_the_main_process_give_the_same_batches() -> None:
    data = small_train(2, images=5)
    order = BatchOrder(10, 4, 0)
    plain = Feeder(order, Images(data), Shares(), 2, 8, on_gpu=False)
    ahead = Feeder(order, Images(data), Shares(), 2, 8, on_gpu=True)
    fetch = Images(data)
    read = list(ahead._loader(fetch.read, 0))
    for one, other in zip(plain, read, strict=True):
        assert all(torch.equal(one[key], fetch.finish(other)[key]) for key in one)


def test_what_is_sent_ahead_comes_in_order() -> None:
    batches = [{"x": torch.tensor(i), "name": str(i)} for i in range(5)]
    assert [int(batch["x"]) for batch in sent_ahead(iter(batches), torch.device("cpu"))] == list(range(5))


def test_bytes_become_the_same_images_on_the_device() -> None:
    images = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)

    class Bytes:
        def kept(self, indices: Tensor) -> Tensor:
            return images[indices]

        def images(self, indices: Tensor) -> Tensor:
            raise AssertionError("converted before it was sent")

    fetch = ImagesAlone(Bytes())  # type: ignore[arg-type]
    assert isinstance(fetch, TwoPartFetch)
    assert fetch.read(torch.tensor([3, 1])).dtype == torch.uint8
    assert torch.equal(fetch(torch.tensor([3, 1])), images[[3, 1]].to(torch.float32).div_(255))
