"""The trained weights of a method's module, as a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from diadbench.common.errors import UserError

FILE = "weights.safetensors"


def save_weights(module: nn.Module | None, directory: Path) -> None:
    """Write parameters and buffers. RuntimeError when there is no module yet."""
    if module is None:
        raise RuntimeError("nothing to save: fit or load first")
    save_file({key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}, directory / FILE)


def load_weights(module: nn.Module, directory: Path) -> None:
    """Fill ``module`` with what :func:`save_weights` wrote. UserError when it was built from other options."""
    try:
        module.load_state_dict(load_file(directory / FILE), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UserError(f"{directory / FILE}: weights of a method with other options ({first})") from error
