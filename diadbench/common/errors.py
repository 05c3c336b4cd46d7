"""The errors a user can mend. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input: which file or key, what was expected, what was found, what to do. One line."""


class Skip(UserError):
    """This cell can't run here (a missing optional package, no GPU, no network). Recorded as ``skipped``."""


class Missing(UserError):
    """Data that aren't on this machine."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UserError:
    """Build the error for a name that nobody registered.

    Args:
        kind: What the name stands for, for example ``"dataset"``.
        name: The name as the user wrote it.
        known: All names that would have been accepted.
        where: File or key in which the name stands.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    place = f"{where}: " if where else ""
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names) or 'none'}"
    return UserError(f"{place}unknown {kind} {name!r}; {hint}")
