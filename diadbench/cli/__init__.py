"""The command line. Each command is a module of ``commands``, imported on use.

A module has either ``command`` (a verb: ``diadbench run``) or ``VERBS`` (a noun: ``diadbench methods list``).
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from diadbench.cli.messages import tell
from diadbench.common.errors import UserError, told_of_missing_package
from diadbench.common.processes.interrupt import as_ctrl_c
from diadbench.common.utf8 import print_what_can_be_printed, start_again_in_utf8_mode, told_of_encoding
from diadbench.version import __version__

COMMANDS = {
    "doctor": "look whether a grid can run here, rightly, and what it costs",
    "run": "run a grid: every method on every dataset, resumable",
    "status": "show how a run goes",
    "report": "build workbook, LaTeX, figures and page from runs",
    "table": "print one's own cut of the results",
    "compare": "set a method against a baseline, with significance",
    "evaluate": "recompute metrics from kept maps, under any protocol",
    "predict": "run a trained cell on any images",
    "rerun": "run a finished cell once more, and compare",
    "pack": "write a run as one archive, for another machine",
    "merge": "write the cells of several runs into one run",
    "verify": "check a run or a pack: are its figures what its scores and maps give?",
    "publish": "make a leaderboard of runs, as a static site",
    "export-submission": "write and check the archive for the server of MVTec AD 2",
    "show": "print a grid, resolved",
    "grids": "the packaged grids: list",
    "methods": "methods: list, info, new, check, export",
    "datasets": "datasets: list, info, check, prepare, make-sample",
    "published": "published figures: list, add",
    "cache": "decoded images, features and the like: list, clear",
    "diad": "DiAD step by step: autoencoder, build, train, test, compare",
}
USAGE = """usage: diadbench COMMAND ... [--debug]

A benchmark harness for multi-class visual anomaly detection.

commands:
{commands}

options:
  --help       this text; `diadbench COMMAND --help` says more, with an example
  --version    the version
  --debug      show the traceback of an error

example:
  diadbench run demo
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``diadbench``. Returns the exit code: 0 success, 1 cells failed, 2 wrong input, 130 Ctrl-C."""
    if argv is None:
        start_again_in_utf8_mode()
    print_what_can_be_printed()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        # what is half written is removed at SIGTERM too: a pack may be larger than what is left of the disk
        with as_ctrl_c() if argv is None else contextlib.nullcontext():
            return _dispatch(words)
    except UserError as error:
        if debug:
            raise
        tell(str(error))
        return 2
    except ModuleNotFoundError as error:
        missing = None if debug else told_of_missing_package(error)
        if missing is None:
            raise
        tell(missing)
        return 2
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except UnicodeEncodeError as error:
        if debug or error.reason != "surrogates not allowed":
            raise
        tell(told_of_encoding(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug or error.filename is None:
            raise
        tell(f"{error.filename}: {error.strerror or ' '.join(map(str, error.args))}")  # pyarrow's have a text alone
        return 2


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(_usage(), end="")
        return 0
    if words[0] == "--version":
        print(f"diadbench {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}; {_hint(name, COMMANDS)}")
    module = importlib.import_module(f"diadbench.cli.commands.cmd_{name.replace('-', '_')}")
    verbs: dict[str, Callable[..., Any]] | None = getattr(module, "VERBS", None)
    if verbs is None:
        return _call(name, module.command, rest)
    if not rest or rest[0] in ("--help", "-h"):
        print(_noun_usage(name, verbs), end="")
        return 0
    if rest[0] not in verbs:
        raise UserError(f"unknown command {name} {rest[0]!r}; {_hint(rest[0], verbs)}")
    return _call(f"{name} {rest[0]}", verbs[rest[0]], rest[1:])


def _call(name: str, function: Callable[..., Any], words: list[str]) -> int:
    from diadbench.cli.parser import call

    return call(name, function, words)


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    return USAGE.format(commands="\n".join(f"  {name:<{width}}{about}" for name, about in COMMANDS.items()))


def _noun_usage(name: str, verbs: dict[str, Callable[..., Any]]) -> str:
    width = max(map(len, verbs)) + 2
    lines = [f"  {verb:<{width}}{(function.__doc__ or '').strip().splitlines()[0]}" for verb, function in verbs.items()]
    example = f"example:\n  diadbench {name} {next(iter(verbs))}"
    return f"usage: diadbench {name} VERB ...\n\n{COMMANDS[name]}\n\nverbs:\n" + "\n".join(lines) + f"\n\n{example}\n"


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
