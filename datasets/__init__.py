"""Datasets: where files lie, classes, splits, traps; the decoded-image cache and the loaders."""

from __future__ import annotations

from diadbench.datasets.registry import get, names

__all__ = ["get", "names"]
