"""Graceful termination: SIGTERM or SIGINT ends a cell at once or, inside :func:`deferred`, when its state is complete.

Signal handling is inherited: a process started by ``nohup ... &``, cron or CI ignores SIGINT, and Python then installs
no handler. So a process that can be ended by a signal sets its handlers at the start.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

#: Signals that end a cell gracefully.
POLITE = (signal.SIGTERM, signal.SIGINT)


class Terminated(BaseException):
    """SIGTERM has come. Not an ``Exception``, so that no method swallows it."""


class _State:
    installed = False
    deferring = 0
    pending = False
    name = "SIGTERM"
    raised = False
    tell: Callable[[], None] | None = None


def install() -> None:
    """Make SIGTERM and SIGINT raise :class:`Terminated` in the main thread, or wait while the end is deferred.

    It is raised once, so that cleanup isn't interrupted by a second signal.
    """
    for number in POLITE:
        signal.signal(number, _on_signal)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)  # The signal mask is inherited too.
    _State.installed = True


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Install the handlers; in the block a signal is only recorded, except in :class:`Interruptible` blocks."""
    before = {name: getattr(_State, name) for name in ("deferring", "pending", "raised")}
    _State.deferring += 1
    install()
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_State, name, value)


def note_for_good() -> None:
    """The same as :func:`noted`, until the end of the process."""
    _State.deferring += 1
    install()


class Interruptible:
    """A block in which a process that only records signals may be ended, by raising :class:`Terminated`.

    A signal that came earlier is raised at the beginning of the block. None is raised after it.
    """

    def __enter__(self) -> None:
        self._before = _State.deferring
        if _State.pending:
            _State.raised = True
            raise Terminated
        _State.deferring = 0  # A signal from here on raises, and only once, so __exit__ isn't needed then.

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _State.deferring = self._before


def take_back() -> None:
    """Restore our handlers after a library has replaced them; do nothing if there were none."""
    if _State.installed and threading.current_thread() is threading.main_thread():
        install()


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not _State.pending:
        _State.pending, _State.name = True, signal.Signals(number).name
    if _State.tell is not None:
        _State.tell()
    if not _State.deferring and not _State.raised:
        _State.raised = True
        raise Terminated


@contextlib.contextmanager
def listening(number: int) -> Iterator[Callable[[], bool]]:
    """Record a signal in the block, whatever the process inherited; yield a function that returns whether it came.

    No exception is raised, so a process can't be interrupted between the start of a child and its registration. In
    threads other than the main one, where Python allows no handlers, nothing is recorded.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C in the block, and SIGHUP unless the process ignores it (``nohup``).

    Each raises KeyboardInterrupt in the main thread, but only the first time, so that cleanup isn't interrupted. SIGINT
    is left as inherited, because in the background it may have to be ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, _raise_once) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _raise_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def deferred(tell: Callable[[], None] | None = None) -> Iterator[None]:
    """Only set :func:`is_pending` on a signal in the block, so that a training saves a checkpoint first.

    ``tell`` is called when a signal comes, so that a process can forward it to its children.
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
    """Defer SIGTERM until the process ends, and end it with its parent: for processes that share a training."""
    install()
    _State.deferring += 1
    die_with_parent(signal.SIGKILL)


def die_with_parent(number: int) -> None:
    """Ask Linux for a signal when the parent dies; on other systems a thread checks the parent every second."""
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
    """Return whether SIGTERM or SIGINT has come."""
    return _State.pending


def pending_name() -> str:
    """Return the name of the signal that has come: ``SIGTERM``."""
    return _State.name


def check() -> None:
    """Raise :class:`Terminated` if a signal has come and is no longer deferred.

    Regular calls detect a signal whose exception was swallowed by a library.
    """
    if _State.pending and not _State.deferring:
        _State.raised = True
        raise Terminated
