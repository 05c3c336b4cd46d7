"""Silence Lightning's messages on devices, packages and workers, and warnings about its own use of old functions."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.warnings import PossibleUserWarning

_LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric")
#: Calls that torch will drop and that Lightning makes itself. Warnings about an author's own files stay.
_OWN_MODULES = r"lightning\.(pytorch|fabric)\."


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Restrict Lightning's loggers to warnings, and suppress its guesses at mistakes and its own deprecated calls.

    Also usable as a decorator. Afterwards the former settings are restored.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", category=FutureWarning, module=_OWN_MODULES)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
