"""diadbench: a benchmark harness for multi-class visual anomaly detection.

>>> import diadbench
>>> run = diadbench.run("demo")        # doctest: +SKIP
>>> run.results()                      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diadbench.common import moved
from diadbench.version import __version__

if TYPE_CHECKING:
    from diadbench.api import evaluate, load_grid, load_results, report, run

moved.install()

__all__ = ["__version__", "evaluate", "load_grid", "load_results", "report", "run"]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used: ``import diadbench`` stays light."""
    if name in __all__:
        from diadbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'diadbench' has no attribute {name!r}")
