"""PatchCore: nearest neighbours of a coreset of patches (Roth et al., CVPR 2022)."""

from __future__ import annotations

from diadbench.methods.patchcore.method import PatchCore

__all__ = ["PatchCore"]
