"""What systems differ in: units, and what Windows lacks.

Linux is what diadbench is tested on. macOS has all that is needed; there, ``/proc`` is missing (no count of kills for
want of memory, memory with shared pages) and no kernel ends a cell with its runner, so the cell looks for itself.
"""

from __future__ import annotations

import os
import sys

from diadbench.common.errors import UserError


def need_posix(what: str) -> None:
    """Raise UserError on a system without process groups and signals: Windows."""
    if not hasattr(os, "killpg"):
        lacks = "process groups and signals (os.killpg, SIGKILL), by which cells are ended"
        raise UserError(f"{what} needs {lacks}; Windows lacks them: use WSL 2. Reading results works here")


def resident_bytes(maxrss: int) -> int:
    """Return bytes from ``ru_maxrss`` of :func:`resource.getrusage`: KiB on Linux and BSD, bytes on macOS."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024
