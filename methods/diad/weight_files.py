"""Reading weights' files without ever running a pickle."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from diadbench.common.errors import UserError

_PARALLEL = "module."
_PICKLE = b"\x80"
SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


class Inert:
    """Stands for any class that an old checkpoint names besides its tensors (Lightning's callbacks). Does nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take whatever the pickle hands over, and forget it."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state too."""


#: Entry of an exported checkpoint, beside ``state_dict``, with what the authors' layout has no key for: sizes, text
#: embedding and origin. A ``.safetensors`` has sizes and origin in its metadata under this name, as JSON.
BESIDE = "diadbench"
#: The text embedding in a ``.safetensors``: a tensor that the authors' code doesn't know and leaves alone.
TEXT = f"{BESIDE}.text"


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or of a checkpoint. As :func:`read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors of a ``.safetensors`` or of a checkpoint, old Lightning ones included, and what we put beside.

    ``torch.load(weights_only=True)`` reads it: no code of the file is run. Classes that it names are replaced by one
    that does nothing; a ``state_dict`` inside is unwrapped.

    Raises:
        UserError: No such file, or it can't be read as tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file() or path.suffix not in SUFFIXES:
        found = "another kind of file" if path.exists() else "nothing there"
        raise UserError(f"weights {path}: expected a file ({', '.join(SUFFIXES)}); found {found}")
    try:
        content: dict[Any, Any] = _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except Exception as error:  # zip, header and pickle errors of several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"weights {path}: can't be read as tensors ({reason})") from error
    beside = content.pop(BESIDE, {})
    return unwrapped(content), beside if isinstance(beside, dict) else {}


def unwrapped(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict that may lie in a ``state_dict``, each behind ``module.`` (DataParallel)."""
    inside = content.get("state_dict")
    content = inside if isinstance(inside, Mapping) else content
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if state and all(key.startswith(_PARALLEL) for key in state):
        return {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    return state


def _load_safetensors(path: Path) -> dict[Any, Any]:
    with safe_open(path, "pt") as file:
        said = json.loads((file.metadata() or {}).get(BESIDE, "{}"))
    content: dict[Any, Any] = load_file(path)
    text = content.pop(TEXT, None)
    return {**content, BESIDE: {**said, **({} if text is None else {"text": text})}}


def _load_pickle(path: Path) -> dict[Any, Any]:
    with open(path, "rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"") and start[:1] != _PICKLE:
        raise pickle.UnpicklingError("no PyTorch file: a page of an error, or a Git LFS pointer?")
    names: list[str] = []
    with contextlib.suppress(ValueError, RuntimeError):  # files older than torch 1.6 can't be asked
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    stand_ins: list[Any] = [(type(name.rpartition(".")[2], (Inert,), {}), name) for name in names]
    with torch.serialization.safe_globals(stand_ins):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise pickle.UnpicklingError(f"expected a dictionary, found {type(content).__name__}")
    return content
