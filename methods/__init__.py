"""Methods: the interface and registry, DiAD, the baselines, the anomalib bridge, backbones."""

from __future__ import annotations

from diadbench.methods.registry import get_class, names

__all__ = ["get_class", "names"]
