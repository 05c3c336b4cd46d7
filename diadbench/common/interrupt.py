"""A polite end: SIGTERM ends a cell at once or, inside :func:`deferred`, when its state is whole."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Terminated(BaseException):
    """SIGTERM came. Not an ``Exception``, so that no method swallows it."""


class _State:
    deferring = 0
    pending = False


def install() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, or wait while the end is deferred."""
    signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _State.pending = True
    if not _State.deferring:
        raise Terminated


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, SIGTERM only makes :func:`is_pending` true: whoever trains saves a checkpoint first."""
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1
    check()


def is_pending() -> bool:
    """Whether SIGTERM has come."""
    return _State.pending


def check() -> None:
    """Raise :class:`Terminated` when SIGTERM has come and nobody defers it any more."""
    if _State.pending and not _State.deferring:
        raise Terminated
