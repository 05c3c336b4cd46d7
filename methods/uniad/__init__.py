"""UniAD: a transformer that reconstructs backbone features (You et al., NeurIPS 2022)."""

from __future__ import annotations

from diadbench.methods.uniad.head import HeadConfig, HeadOutput, UniADHead, jitter, neighbour_mask
from diadbench.methods.uniad.method import UniAD
from diadbench.methods.uniad.official import (
    load_backbone_state,
    load_checkpoint,
    load_head,
    read_checkpoint,
    use_official_padding,
)
from diadbench.methods.uniad.scoring import align, feature_loss, image_score, score_map

__all__ = [
    "HeadConfig",
    "HeadOutput",
    "UniAD",
    "UniADHead",
    "align",
    "feature_loss",
    "image_score",
    "jitter",
    "load_backbone_state",
    "load_checkpoint",
    "load_head",
    "neighbour_mask",
    "read_checkpoint",
    "score_map",
    "use_official_padding",
]
