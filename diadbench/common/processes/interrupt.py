"""A polite end: SIGTERM or SIGINT ends a cell at once or, inside :func:`deferred`, when its state is whole.

What a process does at a signal is inherited: started by ``nohup ... &``, cron or CI it ignores SIGINT, and Python then
installs no handler of its own. So whoever has to be ended by a signal says at its start what it does.
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

#: Signals that end a cell politely.
POLITE = (signal.SIGTERM, signal.SIGINT)


class Terminated(BaseException):
    """SIGTERM came. Not an ``Exception``, so that no method swallows it."""


class _State:
    installed = False
    deferring = 0
    pending = False
    name = "SIGTERM"
    raised = False
    tell: Callable[[], None] | None = None


def install() -> None:
    """Let SIGTERM and SIGINT raise :class:`Terminated` in the main thread, or wait while the end is deferred.

    It is raised once: who cleans up isn't disturbed by a second signal.
    """
    for number in POLITE:
        signal.signal(number, _on_signal)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)  # a mask is inherited too
    _State.installed = True


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Install the handlers; inside, a signal is only noted, but for the blocks that are :class:`Interruptible`."""
    before = {name: getattr(_State, name) for name in ("deferring", "pending", "raised")}
    _State.deferring += 1
    install()
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_State, name, value)


def note_for_good() -> None:
    """As :func:`noted`, to the end of the process."""
    _State.deferring += 1
    install()


class Interruptible:
    """Where a process that only notes signals may be ended: a block that raises :class:`Terminated`.

    A signal that came before is raised at its beginning. None is raised behind it.
    """

    def __enter__(self) -> None:
        self._before = _State.deferring
        if _State.pending:
            _State.raised = True
            raise Terminated
        _State.deferring = 0  # a signal that comes from here on raises, and only once: __exit__ isn't needed then

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _State.deferring = self._before


def take_back() -> None:
    """Undo what a library has put in the place of our handlers; where there were none, do nothing."""
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
    """Inside, a signal is noted, whatever the process has inherited; yields a function that says whether it has come.

    No exception is raised anywhere, so whoever starts a process can't be torn away between its start and the note of
    it. In another thread than the main one, where Python lets nobody set handlers, nothing is heard.
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
    """Inside, SIGTERM is what Ctrl-C is, and so is SIGHUP unless the process was told to ignore it (``nohup``).

    Each raises KeyboardInterrupt in the main thread, the first time only: the end that it begins goes on undisturbed.
    SIGINT stays as it was inherited; in the background it may have to be ignored, as Ctrl-C is meant for others there.
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
    """Inside, a signal only makes :func:`is_pending` true: whoever trains saves a checkpoint first.

    ``tell`` is called when a signal comes: a process passes it on to its children.
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
    """Whether SIGTERM or SIGINT has come."""
    return _State.pending


def pending_name() -> str:
    """Return the name of the signal that has come: ``SIGTERM``."""
    return _State.name


def check() -> None:
    """Raise :class:`Terminated` when a signal has come and nobody defers it any more.

    Who calls it now and then notices a signal whose exception a library has swallowed.
    """
    if _State.pending and not _State.deferring:
        _State.raised = True
        raise Terminated
