"""The trained weights of a method's module: as a safetensors file, and into a module with every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.common.files import write_with

FILE = "weights.safetensors"
#: Keys of one kind that an error names.
_SHOWN = 4
_KINDS = ("missing", "unexpected", "misshaped")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all, readable as the umask allows (safetensors makes it private)."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_with(path, lambda name: save_file(contiguous, name, metadata))


def save_weights(module: nn.Module | None, directory: Path) -> None:
    """Write parameters and buffers. RuntimeError when there is no module yet."""
    if module is None:
        raise RuntimeError("nothing to save: fit or load first")
    write_tensors(directory / FILE, module.state_dict())


def load_weights(module: nn.Module, directory: Path) -> None:
    """Fill ``module`` with what :func:`save_weights` wrote. UserError when it was built from other options."""
    load_state(module, read_tensors(directory / FILE), str(directory / FILE), "weights of a method with other options?")


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file, or what ``torch.save`` wrote of tensors by name.

    Raises:
        UserError: No such file, or it can't be read as tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path, device=device)
        found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # zip, header and pickle errors of several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: can't be read as weights ({reason}); did training end?") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path}: expected tensors by name")
    return dict(found)


def read_tensor(path: Path, name: str, device: str = "cpu") -> Tensor:
    """Read the one tensor of a safetensors file. Raises UserError when there is another one, or none."""
    found = read_tensors(path, device)
    if set(found) != {name}:
        raise UserError(f"{path}: expected the tensor {name!r}, found {', '.join(sorted(found)) or 'none'}")
    return found[name]


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str, hint: str = "") -> None:
    """Fill ``module`` with exactly ``state``. No key is left out on either side, and none is made up.

    Args:
        module: What is filled.
        state: Tensors by the module's names.
        where: What they were read from, for the error.
        hint: What may be wrong, for the error.

    Raises:
        UserError: Keys that are missing, unexpected or of another shape.
    """
    refuse(mismatches(module.state_dict(), state), where, hint)
    module.load_state_dict(dict(state), strict=True)


def mismatches(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return one line for each key that is missing, unexpected or misshaped in ``found``."""
    lines = [f"missing {key}" for key in wanted if key not in found]
    lines += [f"unexpected {key}" for key in found if key not in wanted]
    return lines + [
        f"misshaped {key}: has shape {tuple(found[key].shape)}, expected {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in found and found[key].shape != value.shape
    ]


def refuse(problems: Sequence[str], where: str, hint: str = "") -> None:
    """Raise UserError with the first keys of each kind and the number of all, if there are any."""
    if not problems:
        return
    told = []
    for kind in _KINDS:
        lines = [line for line in problems if line.startswith(kind)]
        more = f" and {len(lines) - _SHOWN:,} more {kind}" if len(lines) > _SHOWN else ""
        told += ["; ".join(lines[:_SHOWN]) + more] if lines else []
    ending = f"; {hint}" if hint else ""
    raise UserError(f"{where}: {len(problems):,} keys don't fit the model: {'; '.join(told)}{ending}")
