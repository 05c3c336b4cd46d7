"""Errors that a user can correct. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import traceback
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from diadbench.common.wording import printable, some


def one_line(text: str) -> str:
    """Return a text as one printable line: a line break is a space where the next line is indented, else ``\\n``."""
    return printable(re.sub(r"\r?\n\s+", " ", text))


def raised(error: BaseException) -> str:
    """Return an exception as one line, and where it left a user's code: ``ValueError: too small (my_method.py:12)``.

    A user's code is what is neither installed nor part of this project. Its author reads this line in tables and
    messages, without a traceback.
    """
    try:
        said = one_line(str(error)).strip()
    except Exception as other:  # of the exception's own __str__
        said = f"(its text can't be made: {type(other).__name__})"
    place = _users_line(error) if not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}{f': {said}' if said else ''}{f' ({place})' if place else ''}"


def _users_line(error: BaseException) -> str:
    """Return file and line of the innermost frame of a user's code, ``""`` without one."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = {sysconfig.get_path("stdlib"), *map(os.path.realpath, sysconfig.get_paths().values())}
    installed = tuple(f"{folder}{os.sep}" for folder in (ours, *paths))
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    outside = [(name, line) for name, line in frames if not name.startswith(("<", *installed))]
    return f"{os.path.basename(outside[-1][0])}:{outside[-1][1]}" if outside else ""


class UserError(Exception):
    """Wrong input. The message states in one line: file or key, expectation, finding and advice.

    Line breaks and control characters in it (of a file's name, of another library's message) are shown as by
    :func:`one_line`.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class Skip(UserError):
    """This cell can't run here (a missing optional package, no GPU, no network). Recorded as ``skipped``."""


class Missing(UserError):
    """Data that aren't on this machine."""


class Several(UserError):
    """Several errors, each a line of the message."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)

    @classmethod
    def of(cls, head: str, errors: Iterable[object]) -> Several:
        """Return the error of a first line and of indented lines."""
        return cls("\n  ".join([head, *(one_line(str(error)) for error in errors)]))


@contextmanager
def told_of_files() -> Iterator[None]:
    """Make an error of the system on a file or folder a :class:`UserError` that names it; also a decorator.

    Most functions that look whether a file is there raise the system's own error where a folder may not be entered.
    """
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"{error.filename}: can't be read ({error.strerror}); get the right to read it and to enter its folders"
        ) from error
    except OSError as error:
        if error.filename is None or error.errno is None:
            raise
        raise UserError(f"{error.filename}: can't be read ({error.strerror})") from error


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UserError:
    """Return the error for an unregistered name.

    Args:
        kind: Kind of the name, for example ``"dataset"``.
        name: The name as the user wrote it.
        known: All accepted names.
        where: File or key that contains the name.
    """
    names = sorted(known)
    same = [one for one in names if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", name)]
    if same:
        place = f"{where}: " if where else ""
        forms = ("decomposed (NFD)", "composed (NFC)")
        there = forms[unicodedata.is_normalized("NFC", same[0])]
        return UserError(f"{place}unknown {kind} {name!r}; its letters are {there} in {same[0]!r}: copy that name")
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    place = f"{where}: " if where else ""
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {some(names) or 'none'}"
    return UserError(f"{place}unknown {kind} {name!r}; {hint}")


#: Distributions of import names that differ by more than ``-`` and ``_``.
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "mlflow": "mlflow-skinny"}


def missing_module(error: BaseException) -> str:
    """Return what to do about a module that a method imports in one of its calls and that isn't there.

    The text is empty for other errors, and for modules of this project.
    """
    if not isinstance(error, ModuleNotFoundError) or (error.name or "diadbench").split(".")[0] == "diadbench":
        return ""
    told = told_of_missing_package(error)
    return told or f"{raised(error)}: neither installed nor beside the method's file; pip install what it needs"


def told_of_missing_package(error: ImportError) -> str | None:
    """Return what is missing and how to get it; ``None`` for a module that is no requirement of this project.

    Args:
        error: Of an import; its ``name`` is the module that wasn't found.
    """
    import importlib.metadata
    import re
    import sys

    top = error.name or ""
    if not isinstance(error, ModuleNotFoundError) or "." in top or top in sys.stdlib_module_names:
        return None  # a package that is there, of another version than this needs
    wanted = DISTRIBUTIONS.get(top, top).lower().replace("_", "-")
    try:
        listed = importlib.metadata.requires("diadbench") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for text in listed:
        requirement, _, marker = (part.strip() for part in text.partition(";"))
        name = re.split(r"[\[<>=!~ ]", requirement)[0]
        if name.lower().replace("_", "-") == wanted:
            extra = re.search(r"extra == ['\"]([\w-]+)", marker)
            what = f"diadbench[{extra[1]}]" if extra else requirement
            return f"the package {name} isn't installed, which this needs; pip install '{what}'"
    return None
