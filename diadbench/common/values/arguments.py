"""The keyword arguments of a class as options: names, types, defaults."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.values.typed import check, is_plain, plain

_VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Arguments:
    """Keyword arguments of a constructor.

    Attributes:
        parameters: Parameters by name.
        hints: Their types. ``Any`` if there is none, or if its name can't be resolved.
        open_ended: Whether other names are accepted too.
    """

    parameters: dict[str, inspect.Parameter]
    hints: dict[str, Any]
    open_ended: bool


def checked_arguments(cls: type, values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return all keyword arguments of ``cls``, defaults replaced by ``values``, as plain values.

    A default without a plain form (an object) is left out, because the constructor has it anyway.

    Raises:
        UserError: An unknown name, a missing argument, a value of a wrong type.
    """
    known = arguments_of(cls)
    values = _nested(known, values)
    _refuse_unknown(known, values, where)
    given = check(known.hints, _without_default(known, values), where)
    found: dict[str, Any] = {}
    for name, parameter in known.parameters.items():
        if name in given:
            found[name] = given[name]
        elif parameter.default is parameter.empty:
            raise UserError(f"{where}: {name} is required" if where else f"{name} is required")
        elif is_plain(parameter.default):
            found[name] = plain(parameter.default)
    return {**found, **{key: value for key, value in given.items() if key not in found}}


def _without_default(known: Arguments, values: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a written ``null`` for arguments with the default ``None``, whatever their hint."""
    defaults = {name: entry.default for name, entry in known.parameters.items()}
    return {key: value for key, value in values.items() if value is not None or defaults.get(key, "") is not None}


def given_arguments(cls: type, values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return only ``values``, checked as by :func:`checked_arguments`; required arguments may be missing."""
    known = arguments_of(cls)
    values = _nested(known, values)
    _refuse_unknown(known, values, where)
    return check(known.hints, values, where)


def named_arguments(cls: type, values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return ``values`` with dotted names read as mappings, types unchecked. Raises UserError for unknown names."""
    known = arguments_of(cls)
    found = _nested(known, values)
    _refuse_unknown(known, found, where)
    return found


def _nested(known: Arguments, values: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``masks.threshold`` as the key ``threshold`` in the mapping ``masks``, if ``masks`` is an argument."""
    made: dict[str, Any] = {}
    for key, value in values.items():
        name, dot, inner = str(key).partition(".")
        if not dot or key in known.parameters or name not in known.parameters:
            made[key] = value
        else:
            mapping = made.get(name)
            made[name] = {**(mapping if isinstance(mapping, Mapping) else {}), inner: value}
    return made


def _refuse_unknown(known: Arguments, values: Mapping[str, Any], where: str) -> None:
    unknown = [key for key in values if key not in known.parameters]
    if unknown and not known.open_ended:
        raise unknown_name("option", str(unknown[0]), known.parameters, where=where)


def arguments_of(cls: type) -> Arguments:
    """Return the keyword arguments of a class, including those passed to its base by ``super().__init__(**kwargs)``."""
    parameters = dict(inspect.signature(cls).parameters)
    hints = _hints(cls, parameters)
    rest = next((name for name, entry in parameters.items() if entry.kind is entry.VAR_KEYWORD), None)
    named = {name: entry for name, entry in parameters.items() if entry.kind not in _VARIADIC}
    if rest is None:
        return Arguments(named, hints, False)
    base, filled = _passed_on(cls, rest)
    if base is None:
        return Arguments(named, hints, True)
    more = arguments_of(base)
    passed = {name: entry for name, entry in more.parameters.items() if name not in {*named, *filled}}
    return Arguments({**named, **passed}, {**more.hints, **hints}, more.open_ended)


def _hints(cls: type, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the types of parameters. A name that only type checkers import affects only its own parameter."""
    function = vars(cls).get("__init__") or getattr(cls, "__init__", None)
    try:
        known = get_type_hints(function, include_extras=True)
    except Exception:  # A plug-in's annotation may raise anything.
        known = {}
    return {
        name: known[name] if name in known else _resolved(entry.annotation, function, cls)
        for name, entry in parameters.items()
        if entry.kind not in _VARIADIC
    }


def _resolved(annotation: Any, function: Any, cls: type) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    names = getattr(function, "__globals__", None) or vars(sys.modules.get(cls.__module__, sys))
    try:
        return get_type_hints(type("_One", (), {"__annotations__": {"one": annotation}}), names)["one"]
    except Exception:
        return Any


def _passed_on(cls: type, rest: str) -> tuple[type | None, set[str]]:
    """Return the base whose constructor gets ``**rest``, and the arguments that the call sets itself."""
    owner = next((base for base in cls.__mro__ if "__init__" in vars(base)), object)
    bases = [base for base in owner.__mro__[1:] if "__init__" in vars(base) and base is not object]
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__init__)))  # type: ignore[misc]
    except (OSError, TypeError, SyntaxError):
        return None, set()
    for call in ast.walk(tree):
        if bases and isinstance(call, ast.Call) and _is_base_call(call, rest):
            names = [
                name for name, entry in inspect.signature(bases[0]).parameters.items() if entry.kind not in _VARIADIC
            ]
            return bases[0], {entry.arg for entry in call.keywords if entry.arg} | {*names[: len(call.args)]}
    return None, set()


def _is_base_call(call: ast.Call, rest: str) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "__init__"
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "super"
        and any(
            entry.arg is None and isinstance(entry.value, ast.Name) and entry.value.id == rest
            for entry in call.keywords
        )
    )
