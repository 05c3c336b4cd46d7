"""A polite end: SIGTERM ends a cell at once or, inside :func:`deferred`, when its state is whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType


class Terminated(BaseException):
    """SIGTERM came. Not an ``Exception``, so that no method swallows it."""


class _State:
    installed = False
    deferring = 0
    pending = False
    tell: Callable[[], None] | None = None


def install() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, or wait while the end is deferred."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    _State.installed = True


def take_back() -> None:
    """Undo what a library has put in the place of our handler; where there was none, do nothing."""
    if _State.installed and threading.current_thread() is threading.main_thread():
        install()


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _State.pending = True
    if _State.tell is not None:
        _State.tell()
    if not _State.deferring:
        raise Terminated


@contextlib.contextmanager
def deferred(tell: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside, SIGTERM only makes :func:`is_pending` true: whoever trains saves a checkpoint first.

    ``tell`` is called when SIGTERM comes: a process passes it on to its children.
    """
    _State.deferring += 1
    _State.tell = tell
    try:
        yield
    finally:
        _State.deferring -= 1
        _State.tell = None
    check()


def defer_for_good() -> None:
    """Defer SIGTERM to the end of this process, and end it with its parent: for processes that share a training."""
    install()
    _State.deferring += 1
    die_with_parent(signal.SIGKILL)


def die_with_parent(number: int) -> None:
    """Ask Linux for a signal when the parent dies; elsewhere a thread looks for the parent each second."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, int(number), 0, 0, 0)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_watch_parent, args=(os.getppid(), number), name="parent", daemon=True).start()


def _watch_parent(parent: int, number: int, interval: float = 1.0) -> None:
    while os.getppid() == parent:
        time.sleep(interval)
    os.kill(os.getpid(), number)


def is_pending() -> bool:
    """Whether SIGTERM has come."""
    return _State.pending


def check() -> None:
    """Raise :class:`Terminated` when SIGTERM has come and nobody defers it any more."""
    if _State.pending and not _State.deferring:
        raise Terminated
