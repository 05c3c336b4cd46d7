"""diadbench: a benchmark harness for multi-class visual anomaly detection."""

from __future__ import annotations

from diadbench.version import __version__

__all__ = ["__version__"]
