"""Return freed memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def give_back() -> None:
    """Return freed memory to the system, where the C library is glibc.

    glibc keeps large blocks that were freed, once some of their size have been; a process that computes one class after
    another then holds the sum of its largest moments.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # musl has no malloc_trim.
            ctypes.CDLL(None).malloc_trim(0)
