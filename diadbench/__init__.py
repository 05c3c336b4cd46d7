"""diadbench: a benchmark harness for multi-class visual anomaly detection.

>>> import diadbench
>>> run = diadbench.run("demo")        # doctest: +SKIP
>>> run.table()                        # doctest: +SKIP
>>> run.figure("bars")                 # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diadbench.common import moved
from diadbench.version import __version__

if TYPE_CHECKING:
    from diadbench.api import (
        Run,
        compare,
        evaluate,
        figure,
        load_grid,
        load_results,
        open_run,
        report,
        run,
        table,
    )

moved.install()

__all__ = [
    "Run",
    "__version__",
    "compare",
    "evaluate",
    "figure",
    "load_grid",
    "load_results",
    "open_run",
    "report",
    "run",
    "table",
]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used: ``import diadbench`` stays light."""
    if name in __all__:
        from diadbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'diadbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the interface, which is imported when it is first used, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
