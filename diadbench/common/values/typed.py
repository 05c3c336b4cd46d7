"""Check plain values against type hints: of a constructor, a dataclass, a command.

pydantic does the checking in strict mode: a number isn't read from a text, and true isn't 1. Its structured errors
become one line with the key, the expectation, and the finding.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from diadbench.common.errors import UserError
from diadbench.common.values.yaml_values import SpelledFloat, SpelledInt

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "",
}
#: Words for true and false in YAML 1.1; grids may still use them for a switch.
_SWITCHES = {"yes": True, "on": True, "no": False, "off": False}


def check(hints: Mapping[str, Any], values: Mapping[str, Any], where: str = "", prefix: str = "") -> dict[str, Any]:
    """Return ``values`` converted to their hints, as plain values (texts, numbers, lists, dicts).

    Args:
        hints: A type for each key. The value of a key without a type is returned unchanged.
        values: Plain values, or the result of :func:`diadbench.common.values.yaml_values.load`.
        where: File or entry of the keys, for messages.
        prefix: Prefix of keys in messages: ``methods.patchcore.``.

    Raises:
        UserError: A value of a wrong type.
    """
    place = f"{where}: {prefix}" if where else prefix
    return {key: convert(hints.get(key, Any), value, f"{place}{key}") for key, value in values.items()}


def convert(hint: Any, value: Any, key: str) -> Any:
    """Return one value converted to ``hint``, as a plain value. Raises UserError, which begins with ``key``."""
    adapter = _adapter(hint)
    if adapter is None:
        return plain(value)
    given = plain(_as_expected(_members(hint), value))
    from pydantic import ValidationError

    try:
        return plain(adapter.validate_json(json.dumps(given), strict=True))
    except ValidationError as error:
        raise _told(error.errors(include_url=False), hint, given, key) from None
    except TypeError:  # not a plain value, such as a tensor
        raise UserError(f"{key}: expected {words(_members(hint))}, found {value!r}") from None


def convert_word(hint: Any, word: str, key: str) -> Any:
    """Return a word of a command line converted to ``hint``. Raises UserError, which begins with ``key``."""
    adapter = _adapter(hint)
    if adapter is None:
        return word
    from pydantic import ValidationError

    try:
        return adapter.validate_strings(word, strict=True)
    except ValidationError as error:
        raise _told(error.errors(include_url=False), hint, word, key) from None


def spelled(cls: type, values: Any) -> Any:
    """Return ``values`` for a dataclass as plain values, with a number's spelling if a text is expected.

    Nothing is refused: values that aren't keys and values, or have a wrong type, are left for the class's own check.
    """
    if not isinstance(values, Mapping):
        return plain(values)
    hints = hints_of(cls)
    return {str(key): plain(_as_expected(_members(hints.get(key, Any)), value)) for key, value in values.items()}


@functools.lru_cache(maxsize=1024)
def _adapter(hint: Any) -> Any:
    """Return the ``TypeAdapter`` of a hint; ``None`` if any value is allowed or pydantic doesn't know the type."""
    if hint is Any:
        return None
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        return TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Return the type hints of a dataclass's fields."""
    return get_type_hints(cls)


def plain(value: Any) -> Any:
    """Return ``value`` made of lists, dicts, texts and plain numbers, as YAML and JSON hold it.

    Tuples and sets become lists, paths texts, members of an ``Enum`` their values, dataclasses dicts, NumPy's scalars
    numbers. Other values are returned unchanged.
    """
    if isinstance(value, SpelledInt | SpelledFloat):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Set):
        return sorted((plain(entry) for entry in value), key=lambda entry: (str(type(entry)), entry))
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def typed(hint: Any, value: Any) -> Any:
    """Return a plain value as what its hint says: a member of an ``Enum``, a path, a tuple, a set, a dataclass.

    The value itself is returned where it isn't plain, or isn't one of the hint.
    """
    adapter = _adapter(hint)
    if adapter is None or not is_plain(value):
        return value
    from pydantic import ValidationError

    try:
        made = adapter.validate_json(json.dumps(plain(value)), strict=True)
    except ValidationError:
        return value
    return (
        value if made is None or (isinstance(made, bool | int | float | str) and not isinstance(made, Enum)) else made
    )


def is_plain(value: Any) -> bool:
    """Return whether :func:`plain` can write the value. A dataclass as a default is left to its constructor."""
    if dataclasses.is_dataclass(value):
        return False
    value = plain(value)
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


# -- hints ------------------------------------------------------------------------------------------------------------


def _members(hint: Any) -> list[Any]:
    """Return the types of a hint: those of a union, else itself."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [member for argument in get_args(hint) for member in _members(argument)]
    return [type(None)] if hint is None else [hint]


def _kind(member: Any) -> Any:
    """Return the kind of a member: ``list`` for types written as a list, ``dict``, else its class."""
    kind = get_origin(member) or member
    if not isinstance(kind, type) or issubclass(kind, str | bytes):
        return kind
    return list if issubclass(kind, Sequence | Set) else dict if issubclass(kind, Mapping) else kind


def _below(members: Iterable[Any], part: int | str) -> list[Any]:
    """Return the types of the entries of a list or mapping."""
    found: list[Any] = []
    for member in members:
        arguments = get_args(member)
        kind = _kind(member)
        if kind is dict and isinstance(part, str):
            found += _members(arguments[1] if arguments else Any)
        elif kind is list and isinstance(part, int):
            fixed = _length(member) is not None
            at = arguments[part : part + 1] if fixed else arguments[:1]
            found += _members(at[0] if at else Any)
    return found


def _keys(members: Iterable[Any]) -> list[Any]:
    """Return the types of a mapping's keys."""
    mappings = [get_args(member) for member in members if _kind(member) is dict]
    return [key for arguments in mappings if arguments for key in _members(arguments[0])]


def _length(member: Any) -> int | None:
    """Return the length of a fixed-length tuple."""
    arguments = get_args(member)
    return len(arguments) if get_origin(member) is tuple and Ellipsis not in arguments else None


def _as_expected(members: list[Any], value: Any) -> Any:
    """Use a number's spelling if a text is expected, and read ``on`` as true if a switch is expected."""
    if isinstance(value, Mapping):
        return {
            _scalar(_keys(members), key): _as_expected(_below(members, str(key)), entry) for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_expected(_below(members, place), entry) for place, entry in enumerate(value)]
    return _scalar(members, value)


def _scalar(members: list[Any], value: Any) -> Any:
    if isinstance(value, SpelledInt | SpelledFloat) and not {int, float, Any, object} & set(_plain_members(members)):
        choices = [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]
        return value.text if str in members or value.text in choices or PurePath in _paths(members) else value
    if isinstance(value, str) and bool in members and str not in members:
        return _SWITCHES.get(value.lower(), value)
    return value


def _plain_members(members: list[Any]) -> list[Any]:
    """Return members, with a ``Literal`` replaced by the types of its choices if they are numbers."""
    found: list[Any] = []
    for member in members:
        choices = get_args(member) if get_origin(member) is Literal else ()
        found += [type(choice) for choice in choices if not isinstance(choice, str)] or [member]
    return [member for member in found if isinstance(member, type) or member is Any]


def _paths(members: list[Any]) -> list[Any]:
    return [PurePath for member in members if isinstance(member, type) and issubclass(member, PurePath)]


# -- messages ---------------------------------------------------------------------------------------------------------


def words(members: Iterable[Any]) -> str:
    """Return types in words: ``a whole number or a list``."""
    found = [word for member in members for word in _words_of(member)]
    return _joined([*dict.fromkeys(filter(None, found))]) or "nothing"


def in_words(hint: Any) -> str:
    """Return a hint in words."""
    return words(_members(hint))


def _words_of(member: Any) -> list[str]:
    if get_origin(member) is Literal:
        return [str(choice) for choice in get_args(member)]
    if isinstance(member, type) and issubclass(member, Enum):
        return [str(choice.value) for choice in member]
    if _paths([member]):
        return ["a path"]
    kind = _kind(member)
    if kind is list:
        length = _length(member)
        return ["a list" if length is None else f"a list of {length}"]
    if kind is dict:
        return ["keys and values"]
    return [_WORDS.get(member, getattr(member, "__name__", str(member)))]


def _joined(entries: list[str]) -> str:
    return ", ".join(entries[:-1]) + (" or " if len(entries) > 1 else "") + "".join(entries[-1:])


def _told(errors: Sequence[Any], hint: Any, value: Any, key: str) -> UserError:
    """Return a sentence for the deepest error, which belongs to the intended member of a union."""
    path = max((_path(error["loc"], value) for error in errors), key=len)
    members = _members(hint)
    for part in path:
        members, value = _below(members, part), value[part]
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    choices = [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]
    close = difflib.get_close_matches(str(value), choices, n=1)
    hint_at = f"; did you mean {close[0]}?" if close else ""
    return UserError(f"{key}: expected {words(members)}, found {value!r}{hint_at}")


def _path(loc: Sequence[int | str], value: Any) -> list[int | str]:
    """Return the keys and indices of an error's place, without pydantic's names of union members and missing keys."""
    path: list[int | str] = []
    for part in loc:
        inside = part < len(value) if isinstance(value, list) and isinstance(part, int) else False
        if inside or (isinstance(value, dict) and part in value):
            value = value[part]
            path.append(part)
    return path
