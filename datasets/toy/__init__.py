"""Procedural images with known defects."""

from __future__ import annotations

from diadbench.datasets.toy.dataset import Toy

__all__ = ["Toy"]
