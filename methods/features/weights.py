"""The trained weights of a method's module, as a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.common.files import write_with

FILE = "weights.safetensors"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file whole or not at all, readable as the umask allows (safetensors makes it private)."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_with(path, lambda name: save_file(contiguous, name))


def save_weights(module: nn.Module | None, directory: Path) -> None:
    """Write parameters and buffers. RuntimeError when there is no module yet."""
    if module is None:
        raise RuntimeError("nothing to save: fit or load first")
    write_tensors(directory / FILE, module.state_dict())


def load_weights(module: nn.Module, directory: Path) -> None:
    """Fill ``module`` with what :func:`save_weights` wrote. UserError when it was built from other options."""
    try:
        module.load_state_dict(load_file(directory / FILE), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UserError(f"{directory / FILE}: weights of a method with other options ({first})") from error
