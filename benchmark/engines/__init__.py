"""Engines run cells as local processes, on Ray or on SLURM. They know nothing about what a cell computes."""

from __future__ import annotations

from typing import Any

from diadbench.benchmark.engines.base import Engine
from diadbench.benchmark.planning.resolving.resolve import checked_options
from diadbench.common.errors import UserError
from diadbench.common.plugins import load_class

TABLE = {
    "local": "diadbench.benchmark.engines.local:LocalEngine",
    "ray": "diadbench.benchmark.engines.ray:RayEngine",
    "slurm": "diadbench.benchmark.engines.slurm:SlurmEngine",
}


def make(name: str, **options: Any) -> Engine:
    """Return the engine ``name``. Its package is imported only here.

    Raises:
        UserError: Unknown engine or option, a value of a wrong type, or a missing package.
    """
    cls = load_class("engine", name, TABLE, "diadbench.engines")
    checked_options(cls, options, f"engine {name!r}")
    try:
        engine: Engine = cls(**options)
    except ModuleNotFoundError as error:
        raise UserError(f"engine {name!r} needs a package: {error}; pip install 'diadbench[{name}]'") from error
    return engine
