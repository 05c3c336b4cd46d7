"""The one reader of weights' files: what it reads, what it says of other files, that it never runs a file's code."""

from __future__ import annotations

import collections
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from diadbench.common.errors import UserError
from diadbench.methods.diad.checkpoints import load_official
from diadbench.methods.features.backbones import load_backbone
from diadbench.methods.features.weight_files import read_checkpoint, read_state, read_tensors
from diadbench.methods.uniad.official import read_checkpoint as read_uniad

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "steps": torch.tensor(7)}
#: Words by which a library advises to read a file without its safeguards.
ADVICE = ("weights_only", "add_safe_globals", "trust", "allow_pickle")


@pytest.fixture
def easydict(monkeypatch: pytest.MonkeyPatch) -> type[dict[str, Any]]:
    """A module ``easydict`` as the authors have it: a dictionary whose entries are attributes too."""
    module = types.ModuleType("easydict")

    class EasyDict(dict[str, Any]):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            super().__setitem__(name, value)

    EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)
    return EasyDict


def contents(easydict: type[dict[str, Any]]) -> dict[str, Any]:
    """What training code writes around its tensors."""
    settings = easydict(name="backbone")
    settings.kwargs = easydict(pretrained=True)  # type: ignore[attr-defined]
    averaged = collections.defaultdict(list, {"auroc": [np.float64(0.9)]})
    return {
        "plain": STATE,
        "epoch beside": {"epoch": 3, **STATE},
        "numpy scalar": {"state_dict": STATE, "best_metric": np.mean([0.9]), "array": np.ones(3)},
        "EasyDict": {"state_dict": STATE, "arch": [settings]},
        "EasyDict of tensors": {"state_dict": easydict(STATE)},
        "defaultdict": {"state_dict": collections.OrderedDict(STATE), "history": averaged, "who": {"x", "y"}},
        "callbacks by class": {"state_dict": STATE, "callbacks": {Path: {"best": Path("x")}}, "kind": torch.float16},
        "optimizer": {"state_dict": STATE, "optimizer": torch.optim.Adam([torch.ones(2)]).state_dict()},
        "data parallel": {"state_dict": {f"module.{key}": value for key, value in STATE.items()}},
        "compiled": {"model": {f"_orig_mod.module.{key}": value for key, value in STATE.items()}},
        "deepspeed": {"module": STATE},
        "nested": {"checkpoint": {"state_dict": STATE}, "epoch": 3},
        "an entry of another name": {"net": STATE, "optimizer": {"momentum": torch.ones(2)}},
        "averaged weights alone": {"ema": STATE, "step": 1},
        "a configuration beside": {"model": {"width": 3}, "weights": STATE},
        "parameters": {key: nn.Parameter(value.float()) for key, value in STATE.items()},
    }


@pytest.mark.parametrize("how", ["zip", "torch 1.5", "protocol 4"])
def test_whatever_training_code_puts_beside_its_tensors(
    how: str, easydict: type[dict[str, Any]], tmp_path: Path
) -> None:
    for name, content in contents(easydict).items():
        path = tmp_path / "x.pth.tar"
        protocol = 4 if how == "protocol 4" else 2
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=how != "torch 1.5")
        before = dict(sys.modules)
        sys.modules.pop("easydict")  # nobody who reads the file has it
        found = read_state(path)
        sys.modules.update(before)
        assert set(found) == set(STATE), name
        assert all(torch.equal(found[key], value) for key, value in STATE.items()), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.to(dtype) for key, value in STATE.items()}
    torch.save(state, tmp_path / "x.ckpt")
    save_file(state, tmp_path / "x.safetensors")
    for name in ("x.ckpt", "x.safetensors"):
        found = read_state(tmp_path / name)
        assert all(value.dtype == dtype and torch.equal(value, state[key]) for key, value in found.items())


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.safetensors")
    save_file(STATE, tmp_path / "x.ckpt")
    for name in ("x.safetensors", "x.ckpt"):
        assert set(read_state(tmp_path / name)) == set(STATE)


@pytest.mark.parametrize("start", [b"PK", b"<h", b"\x1f\x8b", b"\x80\x02"])
def test_a_safetensors_may_begin_with_any_length(start: bytes, tmp_path: Path) -> None:
    """Its first bytes are a number. As one that other formats begin with, it is a number still."""
    content = save(STATE)
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    length = int.from_bytes(start, "little")
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + content[8 + len(header) :])
    assert set(read_state(path)) == set(STATE)


def test_weights_in_several_entries_are_not_guessed(tmp_path: Path) -> None:
    torch.save({"teacher": STATE, "student": STATE}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="several entries, teacher, student; save one"):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["x.PTH", "3f6b2c"])
def test_a_suffix_in_capitals_or_none_goes(name: str, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / name)
    assert set(read_state(tmp_path / name)) == set(STATE)


def test_sharded_weights_are_one_file(tmp_path: Path) -> None:
    import timm

    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    names = sorted(state)
    for i, part in enumerate((names[:9], names[9:]), 1):
        save_file({key: state[key] for key in part}, tmp_path / f"model-0000{i}-of-00002.safetensors")
    for i in (1, 2):
        assert set(read_state(tmp_path / f"model-0000{i}-of-00002.safetensors")) == set(state)
    load_backbone("resnet10t", weights=str(tmp_path), out_indices=(1,))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"00002-of-00002.safetensors: the file is not there, one of 2"):
        read_state(tmp_path / "model-00001-of-00002.safetensors")


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "model.module."])
def test_a_prefix_of_all_names_is_dropped_from_a_backbone(prefix: str, tmp_path: Path) -> None:
    import timm

    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    torch.save({"state_dict": {prefix + key: value for key, value in state.items()}}, tmp_path / "x.ckpt")
    load_backbone("resnet10t", weights=str(tmp_path / "x.ckpt"), out_indices=(1,))
    torch.save({"a." + key: value for key, value in list(state.items())[:3]}, tmp_path / "y.ckpt")
    with pytest.raises(UserError, match="missing"):
        load_backbone("resnet10t", weights=str(tmp_path / "y.ckpt"), out_indices=(1,))


def test_metadata_comes_back_from_both_formats(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "diadbench": {"config": {"x": 1}, "text": torch.ones(2)}}, tmp_path / "x.ckpt")
    told = {"diadbench": '{"config": {"x": 1}}'}
    save_file({**STATE, "diadbench.text": torch.ones(2)}, tmp_path / "x.safetensors", told)
    for name in ("x.ckpt", "x.safetensors"):
        state, metadata = read_checkpoint(tmp_path / name)
        assert set(state) == set(STATE)
        assert metadata["config"] == {"x": 1}
        assert torch.equal(metadata["text"], torch.ones(2))


def test_a_kept_file_is_read_as_it_is(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in STATE.items()}
    save_file(state, tmp_path / "x.safetensors")
    assert set(read_tensors(tmp_path / "x.safetensors")) == set(state)
    torch.save({"state_dict": STATE, "epoch": 1}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="found state_dict, epoch"):
        read_tensors(tmp_path / "x.pth")
    with pytest.raises(UserError, match="did training end"):
        read_tensors(tmp_path / "y.safetensors")


# -- no code of a file is run ---------------------------------------------------------------------------------------


class Attack:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def test_no_function_of_a_file_is_called(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    inner = pickle.dumps(Attack(Path.touch, witness))
    attacks = [
        Attack(Path.touch, witness),
        Attack(exec, f"open({str(witness)!r}, 'w')"),
        Attack(eval, f"open({str(witness)!r}, 'w')"),
        Attack(getattr, Path(witness), "touch"),
        Attack(pickle.loads, inner),
        Attack(torch.storage._load_from_bytes, inner),
    ]
    for number, attack in enumerate(attacks):
        for zipped in (True, False):
            path = tmp_path / f"{number}.ckpt"
            torch.save({"state_dict": STATE, "x": attack}, path, _use_new_zipfile_serialization=zipped)
            assert set(read_state(path)) == set(STATE)
            torch.save({"state_dict": {**STATE, "strange": attack}}, path, _use_new_zipfile_serialization=zipped)
            assert set(read_state(path)) == set(STATE)
    assert not witness.exists()
    pickle.loads(inner)  # the attack is one
    assert witness.exists()


def test_a_file_can_not_change_the_functions_that_rebuild_tensors(tmp_path: Path) -> None:
    before = torch._utils._rebuild_tensor_v2.__defaults__
    data = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__N\x85stb."
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("data.pkl", data), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"x/{name}", content)
    with pytest.raises(UserError, match=r"x\.ckpt"):
        read_state(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ is before


# -- what other files are -------------------------------------------------------------------------------------------


def wrong_files(place: Path) -> dict[str, str]:
    """Write files that hold no weights. Return a word that must be said of each."""
    torch.save(STATE, place / "whole.ckpt")
    save_file(STATE, place / "whole.safetensors")
    diverged = {**STATE, "last.weight": torch.tensor([1.0, float("nan")], dtype=torch.bfloat16)}
    torch.save({"state_dict": diverged}, place / "diverged.ckpt")
    save_file(diverged, place / "diverged.safetensors")
    torch.save([1, 2], place / "list.ckpt")
    torch.save({"epoch": 3, "lr": 0.1}, place / "no_tensors.ckpt")
    torch.save({}, place / "nothing.ckpt")
    torch.save(nn.Linear(2, 2), place / "module.ckpt")
    torch.jit.script(nn.Linear(2, 2)).save(str(place / "script.pt"))
    with zipfile.ZipFile(place / "zip.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    (place / "html.ckpt").write_bytes(b"\n<!DOCTYPE html><html>not found</html>")
    (place / "html.safetensors").write_bytes(b"<html>not found</html>")
    (place / "lfs.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    (place / "empty.pth").write_bytes(b"")
    (place / "gzip.bin").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    (place / "json.bin").write_text('{"error": "Repository not found", "message": "no"}')
    (place / "text.ckpt").write_text("not weights")
    (place / "bytes.ckpt").write_bytes(bytes(range(256)) * 4)
    (place / "cut.ckpt").write_bytes((place / "whole.ckpt").read_bytes()[:700])
    (place / "cut.safetensors").write_bytes((place / "whole.safetensors").read_bytes()[:-3])
    (place / "zeros.pth").write_bytes(bytes(5000))
    whole = (place / "whole.ckpt").read_bytes()
    for name, old, new in (("flipped", b"a.weight", b"a.w\xff\xff\xff\xff\xff"), ("pickle", b"\x80\x02}", b"n\x02}")):
        assert old in whole
        (place / f"{name}.ckpt").write_bytes(whole.replace(old, new))
    (place / "folder.ckpt").mkdir()
    (place / "weights.txt").write_text("x")
    return {
        "diverged.ckpt": "last.weight holds values that are no numbers (NaN)",
        "diverged.safetensors": "last.weight holds values that are no numbers (NaN)",
        "list.ckpt": "found a list",
        "no_tensors.ckpt": "only epoch, lr",
        "nothing.ckpt": "found nothing",
        "module.ckpt": "save its state_dict()",
        "script.pt": "TorchScript",
        "zip.pth": "zip archive of other files",
        "html.ckpt": "web page",
        "html.safetensors": "web page",
        "lfs.ckpt": "git lfs pull",
        "empty.pth": "empty",
        "gzip.bin": "gzip",
        "json.bin": "JSON",
        "text.ckpt": "it is text",
        "bytes.ckpt": "neither a safetensors",
        "cut.ckpt": "cut off",
        "cut.safetensors": "can't be read",
        "zeros.pth": "neither a safetensors",
        "flipped.ckpt": "the archive is damaged; download it again",
        "pickle.ckpt": "the archive is damaged; download it again",
        "folder.ckpt": "found a folder",
        "weights.txt": "another kind of file",
        "missing.ckpt": "nothing there",
    }


READERS: dict[str, Callable[[Path], Any]] = {
    "the reader": read_checkpoint,
    "diad": load_official,
    "uniad": read_uniad,
    "backbone": lambda path: load_backbone("resnet10t", weights=str(path), out_indices=(1,)),
}


@pytest.mark.parametrize("reader", READERS)
def test_another_file_is_named_as_what_it_is(reader: str, tmp_path: Path) -> None:
    for name, word in wrong_files(tmp_path).items():
        if reader == "backbone" and name in ("folder.ckpt", "missing.ckpt"):
            continue  # a backbone's option may be a folder, or a word
        with pytest.raises(UserError) as caught:
            READERS[reader](tmp_path / name)
        told = str(caught.value)
        assert word in told, name
        assert "\n" not in told
        assert len(told.replace(str(tmp_path), "")) <= 300
        assert not [advice for advice in ADVICE if advice in told], name


def test_keys_that_do_not_fit_are_told_in_300_characters(tmp_path: Path) -> None:
    strange = {f"first_stage_model.encoder.down.{i}.block.0.norm1.weight": torch.ones(2) for i in range(50)}
    save_file(strange, tmp_path / "x.safetensors")
    for state in (strange, {**strange, "model.diffusion_model.input_blocks.1.0.out_layers.3.weight": torch.ones(2)}):
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(UserError) as caught:
            load_official(tmp_path / "x.safetensors")
        assert len(str(caught.value).replace(str(tmp_path), "")) <= 300
