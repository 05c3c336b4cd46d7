"""Find the tensors by name in the content of a checkpoint, whatever entries and prefixes are around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

#: Tensors by name.
State = dict[str, Tensor]

#: Entries that may hold the tensors of a checkpoint; the first existing one is used.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
#: Prefixes that wrappers of a module add to each of its names: data-parallel training, torch.compile.
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
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
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


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
    """Return the names of a checkpoint's entries that hold weights like those that :func:`unwrapped` returns."""
    inside = _innermost(content, tuple(wrappers))
    if inside is content:
        return []
    return [str(key) for key, value in content.items() if holds_weights(key, value) and not _has(value, inside)]


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
