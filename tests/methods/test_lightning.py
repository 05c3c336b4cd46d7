"""Training: the same end whether or not it was interrupted, and batches that are a function of (seed, step)."""

from __future__ import annotations

import ast
import errno
import importlib
import inspect
import logging
import threading
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.common.processes import interrupt
from diadbench.common.processes.interrupt import Terminated
from diadbench.methods.base import MethodInfo, Prediction, RunContext
from diadbench.methods.diad.method import DiAD
from diadbench.methods.draem import Draem
from diadbench.methods.training import saving
from diadbench.methods.training.callbacks import seed_torch
from diadbench.methods.training.lightning import BatchOrder, Budget, LightningMethod, Stage, Stages, train_module
from diadbench.methods.training.quiet import quiet_lightning
from diadbench.methods.training.saving import CheckpointWriter
from diadbench.methods.uniad import UniAD


class Images:
    """Ten small random images, as training data."""

    class_names = ("a",)
    image_size = (8, 8)
    class_ids = torch.zeros(10, dtype=torch.int64)
    data = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices: Tensor) -> Tensor:
        return self.data[indices]


class Net(pl.LightningModule):
    """A net with dropout, noise and momentum: everything that a wrong resume would change."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 3, 3, padding=1)
        )
        self.stop_at = stop_at
        self.seen: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(batch["index"])
        if self.stop_at is not None and self.global_step == self.stop_at:
            interrupt._State.pending = True
        noisy = batch["image"] + 0.1 * torch.randn_like(batch["image"])
        loss = (self.net(noisy) - batch["image"]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.fixture(autouse=True)
def calm() -> Any:
    yield
    interrupt._State.pending = False


def settings(path: Path) -> RunContext:
    path.mkdir(exist_ok=True)
    return RunContext(3, torch.device("cpu"), (8, 8), ("a",), path, path)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, accumulate: int) -> None:
    budget = Budget(steps=12, batch_size=4, accumulate=accumulate, clip=0.5)
    calm = Net()
    train_module(calm, Images(), settings(tmp_path / "calm"), budget)
    run = settings(tmp_path / "stormy")
    for stop_at in (4, 9):
        with pytest.raises(interrupt.Terminated):
            train_module(Net(stop_at), Images(), run, budget)
        interrupt._State.pending = False
    stormy = Net()
    train_module(stormy, Images(), run, budget)
    assert 0 < len(stormy.seen) < 12 * accumulate
    for key, value in calm.state_dict().items():
        assert torch.equal(value, stormy.state_dict()[key]), key
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("calm", "stormy")]
    assert histories[0] == histories[1]
    assert histories[0].count("\n") == 13


def test_a_finished_training_is_loaded_not_repeated(tmp_path: Path) -> None:
    run, budget = settings(tmp_path / "run"), Budget(steps=3, batch_size=4)
    first, second = Net(), Net()
    train_module(first, Images(), run, budget)
    train_module(second, Images(), run, budget)
    assert not second.seen
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


class HalfFrozen(Net):
    """Its first layer is not trained; whoever makes it anew has the same one."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(stop_at)
        self.net[0].requires_grad_(False)


def test_checkpoints_hold_what_is_trained_alone_where_the_rest_is_there_anyway(tmp_path: Path) -> None:
    budget = Budget(steps=8, batch_size=4)
    calm = HalfFrozen()
    train_module(calm, Images(), settings(tmp_path / "calm"), budget)
    run = settings(tmp_path / "stormy")
    with pytest.raises(Terminated):
        train_module(HalfFrozen(5), Images(), run, budget, keep_frozen=False)
    interrupt._State.pending = False
    kept = torch.load(run.directory / "train.ckpt", weights_only=True)
    assert set(kept["state_dict"]) == {"net.3.weight", "net.3.bias"}
    assert len(kept["optimizer_states"][0]["state"]) == 2
    for _ in range(2):  # the second time nothing is left to train
        stormy = HalfFrozen()
        train_module(stormy, Images(), run, budget, keep_frozen=False)
        assert all(torch.equal(value, stormy.state_dict()[key]) for key, value in calm.state_dict().items())
    with pytest.raises(RuntimeError, match=r"lacks net\.0\.bias"):
        train_module(Net(), Images(), run, budget, keep_frozen=False)


def test_a_checkpoint_is_written_while_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is that of the step at which it was begun, however slow the disk."""
    path, slow, real = tmp_path / "a.ckpt", threading.Event(), torch.save

    def save(*args: Any) -> None:
        slow.wait(10)
        real(*args)

    monkeypatch.setattr(saving.torch, "save", save)
    writer, weight = CheckpointWriter(), torch.zeros(3)
    writer.save_checkpoint({"state_dict": {"weight": weight}, "loops": [(weight,)]}, path)
    weight += 1
    assert not path.exists()
    slow.set()
    writer.wait()
    assert torch.load(path, weights_only=True)["state_dict"]["weight"].sum() == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_full_disk_ends_the_training_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving.torch, "save", full)
    with pytest.raises(UserError, match="disk full"):
        train_module(Net(), Images(), settings(tmp_path / "run"), Budget(3, 4, checkpoint_minutes=0.0))
    assert not list((tmp_path / "run").glob("train.*"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"accumulate": 0}, "accumulate is 0; expected a whole number from 1 on"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number from 1 on"),
        ({"steps": -5}, "steps is -5; expected a whole number from 0 on"),
        ({"steps": True}, "steps is True"),
        ({"precision": "32-ture"}, "unknown precision of a training '32-ture'; did you mean 32-true"),
        ({"clip": 0.0}, "clip is 0.0; expected a number above 0"),
        ({"clip": float("nan")}, "clip is nan"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes is -1.0"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes is nan"),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Budget(**{"steps": 3, "batch_size": 2, **values})


def test_no_step_trains_nothing_and_says_so(tmp_path: Path) -> None:
    run, net = settings(tmp_path / "run"), Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    train_module(net, Images(), run, Budget(0, 2), name="stage")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert run.notes == ["stage: 0 steps, nothing was trained"]
    assert not net.training


@pytest.mark.parametrize("whole_epochs", [False, True])
def test_each_epoch_is_a_permutation(whole_epochs: bool) -> None:
    order = BatchOrder(10, 4, seed=1, whole_epochs=whole_epochs)
    seen = torch.cat([order(batch) for batch in range(15)])[:50]
    for epoch in seen.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    again = BatchOrder(10, 4, seed=1, whole_epochs=whole_epochs)
    assert torch.equal(again(7), BatchOrder(10, 4, seed=1, whole_epochs=whole_epochs)(7))
    assert not torch.equal(order(0), BatchOrder(10, 4, seed=2)(0))


def test_training_says_nothing_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """No banner of Lightning's, and its loggers are as they were afterwards."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    run = RunContext(0, torch.device("cpu"), (8, 8), ("a",), tmp_path, tmp_path)
    train_module(Net(), Images(), run, Budget(2, 2))
    assert "".join(capfd.readouterr()) == ""
    assert [str(one.message) for one in recwarn if issubclass(one.category, (PossibleUserWarning, FutureWarning))] == []
    assert logger.level == before


def test_warnings_about_lightnings_own_calls_are_silent_and_those_about_a_method_are_not() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with quiet_lightning():
            for module in (
                "lightning.pytorch._pytree",
                "lightning.fabric.x",
                "my_method",
                "lightning_bolts.x",
            ):
                warnings.warn_explicit("old", FutureWarning, "x.py", 1, module=module)
                warnings.warn_explicit(module, UserWarning, "x.py", 1, module=module)
    assert [str(one.message) for one in told] == [
        "lightning.pytorch._pytree",
        "lightning.fabric.x",
        "old",
        "my_method",
        "old",
        "lightning_bolts.x",
    ]


# -- the base of methods that train ---------------------------------------------------------------------------------


class Whole(LightningMethod[Net]):
    """As a new method is written: how the module is made, how long it is trained, what it predicts."""

    info = MethodInfo("whole", "Whole", "A net.")

    def __init__(self, width: int = 3) -> None:
        self.width = width

    def build(self, run: RunContext, *, trained_before: bool = False) -> Net:
        torch.manual_seed(run.seed)
        net = Net()
        net.extra = nn.Linear(self.width, 1)
        return net

    def budget(self, train: Any) -> Budget:
        return Budget(4, 2)

    def predict(self, images: Tensor) -> Prediction:
        maps = (self.fitted().net(images) - images).abs().sum(1)
        return Prediction(maps, maps.amax((1, 2)))


class Older(LightningMethod):  # type: ignore[type-arg]
    """As methods were written before the base saved and loaded: by the old name of the module."""

    info = MethodInfo("older", "Older", "A net.")

    def module(self, train: Any, run: RunContext) -> Net:
        torch.manual_seed(run.seed)
        self.net = Net()
        return self.net

    def budget(self, train: Any) -> Budget:
        return Budget(4, 2)

    def predict(self, images: Tensor) -> Prediction:
        maps = (self.net.net(images) - images).abs().sum(1)
        return Prediction(maps, maps.amax((1, 2)))

    def save(self, directory: Path) -> None:
        torch.save(self.net.state_dict(), directory / "net.pt")

    def load(self, directory: Path, run: RunContext) -> None:
        self.net = Net()
        self.net.load_state_dict(torch.load(directory / "net.pt", weights_only=True))
        self.net.eval()


@pytest.mark.parametrize("kind", [Whole, Older])
def test_a_method_that_trains_is_saved_and_loaded(kind: type[Any], tmp_path: Path) -> None:
    run, images = settings(tmp_path / "run"), Images.data[:3]
    method = kind()
    with pytest.raises((RuntimeError, AttributeError)):
        method.predict(images)
    method.fit(Images(), run)
    method.save(tmp_path)
    again = kind()
    again.load(tmp_path, run)
    assert torch.equal(again.predict(images).anomaly_map, method.predict(images).anomaly_map)
    assert method.parameters_count() == sum(parameter.numel() for parameter in method.fitted().parameters())


def test_the_old_name_of_the_module_is_the_same_module() -> None:
    old = importlib.import_module("diadbench.methods.training.lightning")
    assert (old.Budget, old.LightningMethod) == (Budget, LightningMethod)


def test_weights_of_other_options_are_refused(tmp_path: Path) -> None:
    method, run = Whole(), settings(tmp_path / "run")
    with pytest.raises(RuntimeError, match="Whole: fit or load first"):
        method.save(tmp_path)
    method.fit(Images(), run)
    method.save(tmp_path)
    with pytest.raises(UserError, match="other options"):
        Whole(width=5).load(tmp_path, run)


def test_stages_are_trained_in_their_order_and_closed_when_one_fails(tmp_path: Path) -> None:
    told: list[str] = []

    class Two(Whole):
        """Two trainings."""

        def stages(self, train: Any, run: RunContext) -> Stages:
            net = self.build(run)
            for name, bad in (("first", None), ("second", 1)):
                told.append(f"{name} begins")
                try:
                    yield Stage(Net(bad) if bad else net, Budget(4, 2), name)
                    told.append(f"{name} was trained")
                finally:
                    told.append(f"{name} is left")

    run = settings(tmp_path)
    with pytest.raises(Terminated):
        Two().fit(Images(), run)
    first = ["first begins", "first was trained", "first is left"]
    assert told == [*first, "second begins", "second is left"]
    assert (tmp_path / "first.ckpt").is_file()


@pytest.mark.parametrize("kind", [Draem, DiAD, UniAD])
def test_the_methods_that_train_share_the_base(kind: type[LightningMethod[Any]]) -> None:
    """What the base does stands nowhere else: no method trains by itself."""
    assert issubclass(kind, LightningMethod)
    assert "fit" not in vars(kind)
    calls = [
        (path.name, node.lineno)
        for path in Path(inspect.getfile(kind)).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "train_module"
    ]
    assert not calls


def test_a_step_is_seeded_as_torch_seeds() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = torch.rand(5)
        torch.manual_seed(8)
        seed_torch(7)
        assert torch.equal(torch.rand(5), expected)
        assert torch.initial_seed() == 7
