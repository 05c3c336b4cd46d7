"""Build a command's parser from its function: the signature gives the arguments, the docstring the help.

Parameters without a default are positional (``list[str]`` takes any number), keyword parameters are options,
``bool`` ones are switches. An ``Example::`` block of the docstring ends the help.
"""

from __future__ import annotations

import difflib
import inspect
import textwrap
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any, get_origin, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from diadbench.common.errors import UserError
from diadbench.common.wording import type_error

Command = Callable[..., int | None]


class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the example's lines as they are written."""


def first_line(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (function.__doc__ or "").strip().splitlines()[0]


def build(name: str, function: Command) -> ArgumentParser:
    """Return the parser of one command."""
    text = inspect.cleandoc(function.__doc__ or "")
    body, _, example = text.partition("Example::")
    doc = parse_docstring(body)
    about = {entry.arg_name: " ".join((entry.description or "").split()) for entry in doc.params}
    parser = ArgumentParser(
        prog=f"diadbench {name}",
        description="\n\n".join(filter(None, (doc.short_description, doc.long_description))),
        epilog=f"example:\n{textwrap.indent(textwrap.dedent(example).strip(), '  ')}" if example else None,
        formatter_class=Formatter,
        exit_on_error=False,
        default_env=False,
    )
    hints = get_type_hints(function)
    for key, parameter in inspect.signature(function).parameters.items():
        _add(parser, key, parameter, hints[key], about.get(key, ""))
    return parser


def _add(parser: ArgumentParser, key: str, parameter: inspect.Parameter, hint: Any, about: str) -> None:
    about = about.replace("%", "%%")
    flag = "--" + key.replace("_", "-")
    many = get_origin(hint) is list
    if parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY:
        parser.add_argument(flag, type=hint, required=True, help=about)
    elif parameter.default is parameter.empty:
        extra = {"type": hint.__args__[0], "nargs": "*"} if many else {"type": hint}
        parser.add_argument(key, help=about, **extra)
    elif hint is bool:
        parser.add_argument(flag, action="store_true", default=parameter.default, help=about)
    elif many:
        parser.add_argument(flag, type=hint.__args__[0], nargs="+", default=parameter.default, help=about)
    else:
        parser.add_argument(flag, type=hint, default=parameter.default, help=about)


def call(name: str, function: Command, argv: list[str]) -> int:
    """Parse ``argv`` and call the command. Returns its exit code. Raises UserError for wrong arguments."""
    parser = build(name, function)
    _refuse_unknown_options(parser, argv, name)
    try:
        # options may stand between positional arguments, as people write them
        values = parser.parse_args(_options_last(parser, argv)).as_dict()
    except ArgumentError as error:
        names = {action.dest: action.option_strings[0] for action in parser._actions if action.option_strings}
        raise UserError(f"{type_error(error, names)}; see diadbench {name} --help") from None
    return function(**values) or 0


def _options(parser: ArgumentParser) -> dict[str, bool]:
    """Return every option and whether it is a switch."""
    return {flag: action.nargs == 0 for action in parser._actions for flag in action.option_strings}


def _refuse_unknown_options(parser: ArgumentParser, argv: list[str], name: str) -> None:
    known = _options(parser)
    for word in argv:
        if word == "--":
            return
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            close = difflib.get_close_matches(flag, known, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"see diadbench {name} --help"
            raise UserError(f"unknown option {flag}; {hint}")


def _options_last(parser: ArgumentParser, argv: list[str]) -> list[str]:
    known = _options(parser)
    many = {flag for action in parser._actions if action.nargs == "+" for flag in action.option_strings}
    positional: list[str] = []
    options: list[str] = []
    words = iter(range(len(argv)))
    for place in words:
        word = argv[place]
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        options.append(word)
        if word in many:
            while place + 1 < len(argv) and not argv[place + 1].startswith("--"):
                place = next(words)
                options.append(argv[place])
        elif word in known and not known[word] and place + 1 < len(argv):
            options.append(argv[next(words)])
    return [*positional, *options]
