"""Write a module's trained weights as safetensors, and load weights with every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.common.files import write_with
from diadbench.common.wording import counted, some
from diadbench.methods.features.weight_files import read_tensors

FILE = "weights.safetensors"
#: Maximum number of keys of one kind that an error names.
_SHOWN = 4
#: Maximum number of characters of an error, as long as one key of each kind fits.
_LONGEST = 300
_KINDS = ("missing", "unexpected", "misshaped", "unusable")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically, with the permissions of the umask (safetensors makes it private)."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_with(path, lambda name: save_file(contiguous, name, metadata))


def save_weights(module: nn.Module | None, directory: Path) -> None:
    """Write parameters and buffers. Raises RuntimeError if there is no module yet."""
    if module is None:
        raise RuntimeError("nothing to save: fit or load first")
    write_tensors(directory / FILE, module.state_dict())


def load_weights(module: nn.Module, directory: Path) -> None:
    """Load the file of :func:`save_weights` into ``module``. Raises UserError if it was built from other options."""
    load_state(module, read_tensors(directory / FILE), str(directory / FILE), "weights of a method with other options?")


def read_tensor(path: Path, name: str, device: str = "cpu") -> Tensor:
    """Read the one tensor of a safetensors file. Raises UserError if there is another one, or none."""
    found = read_tensors(path, device)
    if set(found) != {name}:
        raise UserError(f"{path}: expected the tensor {name!r}, found {some(sorted(found)) or 'none'}")
    return found[name]


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str, hint: str = "") -> None:
    """Load exactly ``state`` into ``module``. No key may be left over on either side.

    Args:
        module: The module to load into.
        state: Tensors by the module's names.
        where: Source of the tensors, for the error text.
        hint: Possible cause, for the error text.

    Raises:
        UserError: Keys that are missing, unexpected, of another shape, or hold no finite floating-point numbers.
    """
    refuse(mismatches(module.state_dict(), state), where, hint)
    module.load_state_dict(dict(state), strict=True)


def mismatches(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return one line for each key that is missing, unexpected, misshaped or unusable in ``found``."""
    lines = [f"missing {key}" for key in wanted if key not in found]
    lines += [f"unexpected {key}" for key in found if key not in wanted]
    for key, value in wanted.items():
        if key in found and found[key].shape != value.shape:
            lines.append(f"misshaped {key}: has shape {tuple(found[key].shape)}, expected {tuple(value.shape)}")
        elif key in found and (told := unfit(found[key], value)):
            lines.append(f"unusable {key}: {told}")
    return lines


def unfit(found: Tensor, wanted: Tensor) -> str:
    """Return why a tensor can't be a weight of a network although its shape fits; ``""`` if it can."""
    if not wanted.is_floating_point():
        return ""
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        return f"holds {kind}, expected floating-point numbers (quantised weights can't be used)"
    if found.is_meta:  # names and shapes alone; no file gives such tensors
        return ""
    # float8 has no isfinite
    finite = torch.isfinite(found if found.element_size() > 1 else found.half())
    return "" if bool(finite.all()) else "holds values that are not finite; a damaged file?"


def refuse(problems: Sequence[str], where: str, hint: str = "") -> None:
    """Raise UserError with the first keys of each kind and the total number, if there are any.

    Each kind names one key; further ones are named while the text stays below 300 characters.
    """
    if not problems:
        return
    kinds = [[line for line in problems if line.startswith(kind)] for kind in _KINDS]
    if len(kinds[-1]) == len(problems):
        hint = ""  # which is about keys and shapes, and these fit
    shown = [1 if lines else 0 for lines in kinds]
    text = _message(kinds, shown, len(problems), where, hint)
    for _ in range(_SHOWN - 1):
        for i, lines in enumerate(kinds):
            more = [count + (i == j) for j, count in enumerate(shown)]
            longer = _message(kinds, more, len(problems), where, hint)
            if more[i] <= len(lines) and len(longer) < _LONGEST:
                shown, text = more, longer
    raise UserError(text)


def _message(kinds: Sequence[Sequence[str]], shown: Sequence[int], count: int, where: str, hint: str) -> str:
    told = []
    for lines, kind, number in zip(kinds, _KINDS, shown, strict=True):
        more = f" and {len(lines) - number:,} more {kind}" if len(lines) > number else ""
        told += ["; ".join(lines[:number]) + more] if lines else []
    wrong = counted(count, "key doesn't", "keys don't")
    return f"{where}: {wrong} fit the model: {'; '.join(told)}{f'; {hint}' if hint else ''}"
