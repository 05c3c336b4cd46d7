"""Build a command's parser from its function: the signature gives the arguments, the docstring the help.

Parameters without a default are positional (``list[str]`` takes any number), keyword parameters are options, and
``bool`` ones are switches. An ``Example::`` block of the docstring ends the help. ``argparse`` only splits the words;
their types are checked against the type hints.
"""

from __future__ import annotations

import inspect
import textwrap
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse as parse_docstring

from diadbench.cli.command_words import CommandParser, apart, refuse_unknown_options
from diadbench.common.errors import UserError
from diadbench.common.values.typed import convert_word, in_words

Command = Callable[..., int | None]


def build(name: str, function: Command) -> CommandParser:
    """Return the parser of one command, which returns unconverted words."""
    text = inspect.cleandoc(function.__doc__ or "")
    body, _, example = text.partition("Example::")
    doc = parse_docstring(body)
    about = {entry.arg_name: " ".join((entry.description or "").split()) for entry in doc.params}
    parser = CommandParser(
        prog=f"diadbench {name}",
        description="\n\n".join(filter(None, (doc.short_description, doc.long_description))),
        epilog=f"example:\n{textwrap.indent(textwrap.dedent(example).strip(), '  ')}" if example else None,
        formatter_class=RawDescriptionHelpFormatter,
        argument_default=SUPPRESS,
        allow_abbrev=False,
    )
    hints = get_type_hints(function)
    for key, parameter in inspect.signature(function).parameters.items():
        _add(parser, key, parameter, hints[key], about.get(key, ""))
    return parser


def _add(parser: CommandParser, key: str, parameter: inspect.Parameter, hint: Any, about: str) -> None:
    many = get_origin(hint) is list
    text = f"{about} {_remark(parameter, hint)}".replace("%", "%%").strip()
    if _is_positional(parameter):
        parser.add_argument(key, help=text, nargs="*" if many else None)
    elif hint is bool:
        parser.add_argument(_flag(key), action="store_true", help=text)
    else:
        required = parameter.default is parameter.empty
        nargs = "+" if many else None
        parser.add_argument(_flag(key), nargs=nargs, metavar=_metavar(key, hint), required=required, help=text)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _metavar(key: str, hint: Any) -> str:
    choices = [
        choice for member in (hint, *get_args(hint)) if get_origin(member) is Literal for choice in get_args(member)
    ]
    return "{" + ",".join(map(str, choices)) + "}" if choices else key.upper()


def _remark(parameter: inspect.Parameter, hint: Any) -> str:
    """Return the help's text after an argument's description: whether it is required, its type, its default."""
    default = parameter.default
    many = get_origin(hint) is list
    kind = in_words(hint)
    said = ["required"] if default is parameter.empty and not many else []
    if kind in ("a whole number", "a number"):
        said.append(kind)
    if not many and not any(default is silent for silent in (parameter.empty, None, "", False)):
        said.append(f"default: {default}")
    return f"({', '.join(said)})" if said else ""


def call(name: str, function: Command, argv: list[str]) -> int:
    """Parse ``argv`` and call the command. Returns its exit code. Raises UserError for wrong arguments."""
    parser = build(name, function)
    refuse_unknown_options(parser, argv)
    if {"-h", "--help"} & set(argv):
        parser.print_help()
        return 0
    words = apart(parser, argv)
    try:
        values = checked_words(function, words)
    except UserError as error:
        raise UserError(f"{error}; see diadbench {name} --help") from None
    return function(**values) or 0


def checked_words(function: Command, words: dict[str, Any]) -> dict[str, Any]:
    """Return a command's arguments from their words. Raises UserError if one is missing or wrong."""
    hints = get_type_hints(function)
    found: dict[str, Any] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        shown = key if _is_positional(parameter) else _flag(key)
        if words.get(key) is not None:
            found[key] = _value(hints[key], words[key], shown)
        elif get_origin(hints[key]) is list and _is_positional(parameter):
            found[key] = []
        elif parameter.default is parameter.empty:
            raise UserError(f"{shown} is required")
    return found


def _value(hint: Any, given: Any, shown: str) -> Any:
    if isinstance(given, list):
        return [convert_word(get_args(hint)[0], word, shown) for word in given]
    return given if isinstance(given, bool) else convert_word(hint, given, shown)
