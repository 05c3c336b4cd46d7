"""Datasets: where files lie, classes, splits, traps; the decoded-image cache and the loaders."""

from __future__ import annotations

from diadbench.datasets.lookup import get, get_class, names

__all__ = ["get", "get_class", "names"]
