"""Options for the display of results: those of :class:`~diadbench.common.show.Show`, for several commands."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from docstring_parser import parse as parse_docstring

from diadbench.cli.command_words import single_words
from diadbench.common.errors import UserError
from diadbench.common.show import KEYS, Show

_LISTS = [key for key in KEYS if isinstance(getattr(Show(), key), tuple)]
#: keys whose option isn't a text
_KINDS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("names", *_LISTS), ("list[str]", [])),
    "digits": ("int | None", None),
    "std": ("bool", False),
    "titles": ("bool", False),
}
#: switches that turn something off, and their help texts
_WITHOUT = {
    "std": "Print no standard deviations over seeds.",
    "titles": "Draw no titles in figures; figures/captions.txt has them.",
}


def displayed(*keys: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the options of :class:`Show` to a command, which gets them as one argument, ``show``.

    Args:
        keys: Keys to add; all by default. A key that the command has itself is not added.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(function)
        added = [key for key in keys or KEYS if key not in own.parameters]

        def command(*args: Any, **values: Any) -> int:
            given = {key: values.pop(_option(key), None) for key in added}
            return function(*args, **values, show=_read(given))

        kept = [parameter for name, parameter in own.parameters.items() if name != "show"]
        command.__signature__ = own.replace(parameters=[*kept, *map(_parameter, added)])  # type: ignore[attr-defined]
        hints = {key: hint for key, hint in function.__annotations__.items() if key != "show"}
        command.__annotations__ = {**hints, **{_option(key): _KINDS.get(key, ("str", ""))[0] for key in added}}
        command.__doc__ = _with_help(function.__doc__ or "", added)
        command.__name__ = function.__name__
        return command

    return decorate


def _option(key: str) -> str:
    return f"no_{key}" if key in _WITHOUT else key


def _parameter(key: str) -> inspect.Parameter:
    hint, default = _KINDS.get(key, ("str", ""))
    return inspect.Parameter(_option(key), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _with_help(doc: str, added: Sequence[str]) -> str:
    """Add a line for each option at the end of the command's arguments."""
    about = {entry.arg_name: " ".join((entry.description or "").split()) for entry in parse_docstring(_help()).params}
    lines = []
    for key in added:
        text = about[key]
        if key == "names":
            text = "Printed names of methods and datasets: RevDist=Ours, several with spaces between."
        elif key in _WITHOUT:
            text = _WITHOUT[key]
        elif key in _LISTS:
            text += " Several with spaces or commas between."
        lines.append(f"        {_option(key)}: {text.replace('`', '')}")
    head, mark, example = doc.partition("\n\n    Example::")
    return "\n".join([head.rstrip(), *lines]) + mark + example


def _help() -> str:
    """Return the attributes of :class:`Show` as the ``Args`` section of a docstring."""
    return textwrap.dedent((inspect.getdoc(Show) or "").replace("Attributes:", "Args:"))


def _read(given: dict[str, Any]) -> Show:
    """Return the values of the options; their words are texts, even if YAML would read them otherwise."""
    values: dict[str, Any] = {
        key: value
        for key, value in given.items()
        if value is not None and value != "" and value != [] and value is not False
    }
    for key in _LISTS:
        if key in values:
            values[key] = single_words(values[key])
    if "names" in values:
        values["names"] = dict(_pair(text) for text in values["names"])
    values |= dict.fromkeys(values.keys() & _WITHOUT.keys(), False)
    return Show.read(values, "options")


def _pair(text: str) -> tuple[str, str]:
    name, sign, shown = text.partition("=")
    if not sign or not name.strip() or not shown.strip():
        raise UserError(f"--names: expected NAME=PRINTED, for example RevDist=Ours; found {text!r}")
    return name.strip(), shown.strip()
