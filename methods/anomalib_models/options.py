"""The arguments of an anomalib model as options of a grid: plain YAML values with types."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import operator
import pathlib
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

#: Arguments that the bridge sets itself.
_FILLED = {"self", "pre_processor", "post_processor", "evaluator", "visualizer"}
_PLAIN = (str, int, float, bool, type(None))


def options_of(cls: type) -> list[inspect.Parameter]:
    """Return the constructor's arguments as keyword options with plain types and defaults."""
    hints = _hints(cls)
    options: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in _FILLED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = None if parameter.default is parameter.empty else plain_value(parameter.default)
        annotation = plain_type(hints.get(name, Any))
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return options


def enum_values(cls: type, options: dict[str, Any]) -> dict[str, Any]:
    """Convert option values back to ``Enum`` members for arguments of such types."""
    hints = _hints(cls)
    converted = dict(options)
    for name, value in options.items():
        kinds = [kind for kind in (hints.get(name), *get_args(hints.get(name))) if _is_enum(kind)]
        if kinds and value is not None and not isinstance(value, Enum):
            converted[name] = kinds[0](value)
    return converted


def plain_value(value: Any) -> Any:
    """Return ``value`` in a form that YAML can hold."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    return value if isinstance(value, _PLAIN) else str(value)


def plain_type(hint: Any) -> Any:
    """Return the type of the plain values for ``hint``; ``Any`` if it is unknown."""
    if hint in _PLAIN or hint is None:
        return hint
    if _is_enum(hint):
        return Literal[tuple(member.value for member in hint)]
    if isinstance(hint, type) and issubclass(hint, pathlib.PurePath):
        return str
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [plain_type(argument) for argument in arguments]
        known = [kind for kind in kinds if kind is not Any]
        if any(kind is str for kind in known):  # Values of an enum are strings too; the model checks them.
            known = [kind for kind in known if get_origin(kind) is not Literal]
        return functools.reduce(operator.or_, known) if known else Any
    if origin is Literal:
        return hint
    if origin in (list, collections.abc.Sequence):
        return list[plain_type(arguments[0])] if arguments else list  # type: ignore[misc]
    if hint is list or origin is tuple or hint is tuple:
        return list
    return Any


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # names that anomalib imports for type checkers only
        return {}
