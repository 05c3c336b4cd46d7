"""Differences between operating systems: units, and features that Windows lacks.

diadbench is tested on Linux. macOS has all that is needed, but no ``/proc`` (no count of kills for lack of memory,
memory includes shared pages), and its kernel doesn't end a cell with its runner, so the cell checks that itself.
"""

from __future__ import annotations

import os
import sys

from diadbench.common.errors import UserError


def need_posix(what: str) -> None:
    """Raise UserError on a system without process groups and signals, i.e. Windows."""
    if not hasattr(os, "killpg"):
        lacks = "process groups and signals (os.killpg, SIGKILL), by which cells are ended"
        raise UserError(f"{what} needs {lacks}; Windows lacks them: use WSL 2. Reading results works here")


def resident_bytes(maxrss: int) -> int:
    """Convert ``ru_maxrss`` of :func:`resource.getrusage` to bytes: it is in KiB on Linux and BSD, bytes on macOS."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024
