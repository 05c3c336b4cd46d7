"""Keep what foreign code sets for the whole process apart from what this project computes with.

A user's file may set torch's default dtype or device, numpy's handling of errors, the working directory, environment
variables or signal handlers, at its import or in any call. Its own calls find these again; between them, the settings
of this project are in force, so that no metric, no other cell and no file name depends on them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakSet

Values = dict[str, Any]
#: Functions that run as blocks already: a class inherits them from another one of a user.
_KEPT_APART: WeakSet[Callable[..., Any]] = WeakSet()


def settings() -> Values:
    """Return the settings of this process by name; those of numpy and torch where these are imported."""
    found: Values = {
        "environment": dict(os.environ),
        "directory": _directory(),
        "warnings": warnings.filters[:],
        "streams": (sys.stdout, sys.stderr),
    }
    if "numpy" in sys.modules:
        import numpy as np

        found["numpy errors"] = np.geterr()
    if torch := _torch_if_imported():
        found |= {
            "dtype": torch.get_default_dtype(),
            "device": _default_device(torch),
            "threads": torch.get_num_threads(),
            "gradients": torch.is_grad_enabled(),
            "deterministic": (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
        }
    return found


def _torch_if_imported() -> Any:
    """Return torch where all of it is imported; ``None`` else, and for a stand-in, which has no settings."""
    return sys.modules["torch"] if {"torch", "torch._C"} <= sys.modules.keys() else None


def use(values: Values) -> None:
    """Set what differs from ``values``; a setting that it hasn't is left as it is."""
    now = settings()
    for name, value in values.items():
        if now.get(name) != value:
            _SETTERS[name](value)


def _set_environment(wanted: dict[str, str]) -> None:
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)


def _set_warnings(wanted: list[Any]) -> None:
    warnings.resetwarnings()  # empties the filters, and makes Python forget which warnings it has judged by them
    warnings.filters = list(wanted)


def _set_streams(wanted: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = wanted


def _directory() -> str:
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        return os.getcwd()
    return ""


def _set_directory(wanted: str) -> None:
    if wanted:
        with contextlib.suppress(FileNotFoundError):  # removed by the code itself: a temporary directory of its own
            os.chdir(wanted)


def _default_device(torch: Any) -> Any:
    """Return the device that was set as default, ``None`` without one."""
    mode = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if mode is None else mode.device


def _set_numpy_errors(wanted: dict[str, Any]) -> None:
    import numpy as np

    np.seterr(**wanted)


def _torch(name: str) -> Callable[[Any], None]:
    return lambda value: getattr(sys.modules["torch"], name)(value)


def _set_deterministic(wanted: tuple[bool, bool]) -> None:
    sys.modules["torch"].use_deterministic_algorithms(wanted[0], warn_only=wanted[1])


_SETTERS: dict[str, Callable[[Any], None]] = {
    "environment": _set_environment,
    "directory": _set_directory,
    "warnings": _set_warnings,
    "streams": _set_streams,
    "numpy errors": _set_numpy_errors,
    "dtype": _torch("set_default_dtype"),
    "device": _torch("set_default_device"),
    "threads": _torch("set_num_threads"),
    "gradients": _torch("set_grad_enabled"),
    "deterministic": _set_deterministic,
}


class Apart:
    """A block of foreign code: it runs with the settings that it left the last time, and ours come back after it.

    Blocks may be nested: a call of foreign code by foreign code changes nothing. Signal handlers are put back, but are
    never set again for the foreign code, so that a cell can always be ended.

    Attributes:
        changed: The settings that the foreign code changes, by name: as they are with it; of the environment only the
            variables that differ.
    """

    def __init__(self) -> None:
        self.changed: Values = {}
        self._depth = 0

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1:
            self._ours, self._handlers = settings(), _handlers()
            told = {name: value for name, value in self.changed.items() if name not in ("environment", "streams")}
            use({**told, "environment": _with_changes(self._ours["environment"], self.changed.get("environment", {}))})

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        now = settings()
        self.changed = {name: value for name, value in now.items() if value != self._ours.get(name, value)}
        if "environment" in self.changed:
            self.changed["environment"] = _changes(self._ours["environment"], now["environment"])
        use(self._ours)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _changes(before: dict[str, str], after: dict[str, str]) -> dict[str, str | None]:
    """Return what differs of two environments by name; ``None`` for a variable that is gone."""
    gone = dict.fromkeys(set(before) - set(after))
    return {**gone, **{name: value for name, value in after.items() if before.get(name) != value}}


def _with_changes(environment: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**environment, **changes}.items() if value is not None}


def _handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    return {number: handler for number, handler in found.items() if handler is not None}


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    """Let Python's, numpy's and torch's global random numbers go on after the block as if it hadn't been.

    A file that seeds them at its import would otherwise give all seeds of a grid the same numbers.
    """
    torch, numpy = _torch_if_imported(), sys.modules.get("numpy")
    python = random.getstate()
    of_numpy = numpy.random.get_state() if numpy else None
    of_torch = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(of_numpy)
        if torch:
            torch.set_rng_state(of_torch)


def keep_calls_apart(cls: type, names: Iterable[str], apart: Apart) -> None:
    """Let the functions of a class that have these names run as blocks of ``apart``, those of its bases too.

    A constructor that it inherits is left as it is, because its options are read from the class that defines it.
    """
    for name in names:
        found = vars(cls).get(name) if name == "__init__" else getattr(cls, name, None)
        if inspect.isfunction(found) and found not in _KEPT_APART and not hasattr(found, "__isabstractmethod__"):
            setattr(cls, name, _apart(found, apart))


def _apart(function: Any, apart: Apart) -> Any:
    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        with apart:
            return function(*arguments, **options)

    _KEPT_APART.add(called)
    return called
