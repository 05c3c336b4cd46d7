"""Errors that a user can correct. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from diadbench.common.wording import printable, some


def one_line(text: str) -> str:
    """Return a text as one printable line: a line break is a space where the next line is indented, else ``\\n``."""
    return printable(re.sub(r"\r?\n\s+", " ", text))


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
