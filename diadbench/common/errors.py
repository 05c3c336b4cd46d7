"""Errors that a user can correct. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from diadbench.common.wording import some


class UserError(Exception):
    """Wrong input. The message states in one line: file or key, expectation, finding and advice."""


class Skip(UserError):
    """This cell can't run here (a missing optional package, no GPU, no network). Recorded as ``skipped``."""


class Missing(UserError):
    """Data that aren't on this machine."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UserError:
    """Return the error for an unregistered name.

    Args:
        kind: Kind of the name, for example ``"dataset"``.
        name: The name as the user wrote it.
        known: All accepted names.
        where: File or key that contains the name.
    """
    names = sorted(known)
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
