"""Find the tensors by name in the content of a checkpoint, whatever entries and prefixes are around them, and say what
else it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diadbench.common.wording import some

#: Tensors by name.
State = dict[str, Tensor]

#: Entries that may hold the tensors of a checkpoint; the first existing one is used.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
#: Prefixes that wrappers of a module add to each of its names: data-parallel training, torch.compile.
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
#: Counter beside the weights of ``torch.optim.swa_utils.AveragedModel``.
_AVERAGED = "n_averaged"
#: Entries of a checkpoint nested deeper than this are not looked into.
_DEEPEST = 3
#: Beginnings of the names of entries with tensors that are no weights.
_NO_WEIGHTS = ("optim", "lr_", "sched", "scaler", "amp", "rng", "random")


def unwrapped(content: Mapping[Any, Any], wrappers: Iterable[str] = WRAPPERS) -> State:
    """Return the tensors of a checkpoint's content.

    Args:
        content: Tensors by name, or a dictionary that has them in one of its entries.
        wrappers: Names of that entry; the first existing one is used.

    Returns:
        The tensors by name. The prefixes ``module.`` (data-parallel training) and ``_orig_mod.`` (torch.compile) are
        dropped where every name has them. What is no tensor is left out.
    """
    inside = _innermost(content, tuple(wrappers))
    state = {str(key): value for key, value in inside.items() if isinstance(value, Tensor)}
    if all(key.startswith("module.") or key == _AVERAGED for key in state):
        state.pop(_AVERAGED, None)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def without_wrapper(state: Mapping[str, Tensor], roots: tuple[str, ...]) -> State:
    """Drop what a wrapper puts before every name (``model.``, ``net.``, ``model.module.``), and inside of it.

    Args:
        state: Tensors by name.
        roots: Beginnings of the names that are known, such as ``backbone.``.

    Returns:
        The tensors without the shortest prefix that all names share and after which one begins with a root; unchanged
        if one does already, or if there is no such prefix. ``_orig_mod`` and ``module`` after a root, of a part that
        was compiled or trained in parallel alone, are dropped too.
    """
    first = next(iter(state), "").split(".")
    for i in range(len(first)):
        prefix = "".join(f"{part}." for part in first[:i])
        if not all(key.startswith(prefix) for key in state):
            break
        if any(key.startswith(roots, len(prefix)) for key in state):
            return {_without_inner(key.removeprefix(prefix)): value for key, value in state.items()}
    return dict(state)


def _without_inner(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("_orig_mod", "module"))


def notes_on(path: Path, content: Mapping[Any, Any], state: State, wrappers: Iterable[str] = WRAPPERS) -> list[str]:
    """Return the notes on entries of a file that hold weights too and are left out, and on weights with few digits.

    Args:
        path: The file.
        content: All that it holds.
        state: What :func:`unwrapped` returned of it.
        wrappers: The entries that were looked for.
    """
    notes = []
    if others := other_weights(content, wrappers):
        notes.append(f"weights {path.name}: its entries {some(others)} hold weights too and are left out")
    kinds = {str(value.dtype).removeprefix("torch.") for value in state.values() if value.is_floating_point()}
    if few := sorted(kinds - {"float32", "float64"}):
        notes.append(f"weights {path.name}: stored as {some(few)}, so rounded")
    return notes


def _innermost(content: Mapping[Any, Any], wrappers: tuple[str, ...]) -> Mapping[Any, Any]:
    """Return the mapping that has the tensors: an entry of a known name, or else the only one with tensors by name."""
    for _ in range(_DEEPEST):
        known = next((content[name] for name in wrappers if holds_weights(name, content.get(name))), None)
        if known is None:
            if any(isinstance(value, Tensor) for value in content.values()):
                return content
            inner = [value for key, value in content.items() if holds_weights(key, value)]
            if len(inner) != 1:
                return content
            known = inner[0]
        content = known
    return content


def other_weights(content: Mapping[Any, Any], wrappers: Iterable[str] = WRAPPERS) -> list[str]:
    """Return the names of a checkpoint's entries that hold weights like those that :func:`unwrapped` returns.

    Like them is what has a matrix or a kernel of the same shape: a trainer keeps scores as tensors too.
    """
    inside = _innermost(content, tuple(wrappers))
    if inside is content:
        return []
    shapes = _shapes(inside)
    others = {key: value for key, value in content.items() if holds_weights(key, value) and not _has(value, inside)}
    return [str(key) for key, value in others.items() if shapes & _shapes(value)]


def _shapes(content: Mapping[Any, Any], depth: int = 1) -> set[tuple[int, ...]]:
    """Return the shapes of all tensors of two or more axes in a mapping and those below it."""
    found = {tuple(one.shape) for one in content.values() if isinstance(one, Tensor) and one.ndim > 1}
    inner = [one for one in content.values() if isinstance(one, Mapping)] if depth < _DEEPEST else []
    return found.union(*(_shapes(one, depth + 1) for one in inner))


def rivals(content: Mapping[Any, Any], wrappers: Iterable[str] = WRAPPERS) -> list[str]:
    """Return the names of the entries between which :func:`unwrapped` couldn't choose; none if there is no choice."""
    inside = _innermost(content, tuple(wrappers))
    if any(isinstance(value, Tensor) for value in inside.values()):
        return []
    return [str(key) for key, value in inside.items() if holds_weights(key, value)]


def _has(value: Any, inside: Mapping[Any, Any], depth: int = 1) -> bool:
    """Whether an entry is the mapping ``inside`` or holds it."""
    if value is inside:
        return True
    return depth < _DEEPEST and any(_has(one, inside, depth + 1) for one in value.values() if isinstance(one, Mapping))


def holds_weights(key: Any, value: Any, depth: int = 1) -> bool:
    """Whether an entry of a checkpoint holds tensors by name, and not an optimizer's state."""
    if not isinstance(value, Mapping) or str(key).lower().startswith(_NO_WEIGHTS):
        return False
    if any(isinstance(one, Tensor) and isinstance(name, str) for name, one in value.items()):
        return True
    return depth < _DEEPEST and any(holds_weights(name, one, depth + 1) for name, one in value.items())
