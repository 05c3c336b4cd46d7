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
