"""Split the words of a command, with options allowed anywhere between positional arguments."""

from __future__ import annotations

import difflib
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from diadbench.common.errors import UserError


class CommandParser(ArgumentParser):
    """Parser that only splits words; types and required arguments are checked later."""

    def error(self, message: str) -> NoReturn:
        """Raise an error with argparse's message."""
        raise UserError(f"{message}; see {self.prog} --help")


def apart(parser: CommandParser, argv: list[str]) -> dict[str, Any]:
    """Return the words of each given argument.

    Raises:
        UserError: An unknown option, an option without its value, too many words.
    """
    for action in parser._actions:
        action.required = False
    return vars(parser.parse_args(_options_last(parser, argv)))


def _options(parser: CommandParser) -> dict[str, bool]:
    """Return every option and whether it is a switch."""
    return {flag: action.nargs == 0 for action in parser._actions for flag in action.option_strings}


def refuse_unknown_options(parser: CommandParser, argv: list[str]) -> None:
    """Raise UserError for an option that the command doesn't have."""
    known = _options(parser)
    for word in argv:
        if word == "--":
            return
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            close = difflib.get_close_matches(flag, known, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"see {parser.prog} --help"
            raise UserError(f"unknown option {flag}; {hint}")


def _options_last(parser: CommandParser, argv: list[str]) -> list[str]:
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
            count = _words_of_list(argv[place + 1 :], parser)
            options += argv[place + 1 : place + 1 + count]
            for _ in range(count):
                next(words)
        elif word in known and not known[word] and place + 1 < len(argv):
            options.append(argv[next(words)])
    return [*positional, *options]


def _words_of_list(rest: list[str], parser: CommandParser) -> int:
    """Return how many words belong to an option that takes several.

    They end at the next option. If the command accepts words by themselves, they also end at a run directory, and at a
    ``key=value`` word unless the option accepts such words.
    """
    has_loose = any(action.nargs == "*" and not action.option_strings for action in parser._actions)
    for count, word in enumerate(rest):
        if word.startswith("--") or (has_loose and count and (("=" in word and "=" not in rest[0]) or _is_run(word))):
            return count
    return len(rest)


def _is_run(word: str) -> bool:
    return (Path(word) / "grid.yaml").is_file()


def single_words(given: Iterable[str]) -> list[str]:
    """Return the names in the words of an option, which stand between spaces or commas: ``a,b c``."""
    return [name.strip() for word in given for name in word.split(",") if name.strip()]
