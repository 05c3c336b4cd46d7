"""Datasets: location of files, classes, splits and known pitfalls; the cache of decoded images and the loaders."""

from __future__ import annotations

from diadbench.datasets.lookup import get, get_class, names

__all__ = ["get", "get_class", "names"]
