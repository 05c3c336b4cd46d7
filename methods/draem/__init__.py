"""DRAEM: reconstruction and segmentation trained on synthetic anomalies (Zavrtanik et al., ICCV 2021)."""

from __future__ import annotations

from diadbench.methods.draem.losses import draem_loss, focal, image_score, ssim
from diadbench.methods.draem.method import Draem

__all__ = ["Draem", "draem_loss", "focal", "image_score", "ssim"]
