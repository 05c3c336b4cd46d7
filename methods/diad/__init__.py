"""DiAD: latent diffusion with a semantic-guided network (He et al., AAAI 2024). See docs/diad.md."""

from __future__ import annotations

from diadbench.methods.diad.checkpoints import export, load_official, official_state
from diadbench.methods.diad.config import SIZES, ModelConfig, infer, of_width
from diadbench.methods.diad.diffusion import Step, denoise, make_scheduler, timesteps, walk
from diadbench.methods.diad.networks.model import DiADModel, SemanticGuidedNetwork
from diadbench.methods.diad.networks.sff import SFF
from diadbench.methods.diad.score_maps import anomaly_map, image_score, level_maps
from diadbench.methods.diad.stable_diffusion import load_stable_diffusion

__all__ = [
    "SFF",
    "SIZES",
    "DiADModel",
    "ModelConfig",
    "SemanticGuidedNetwork",
    "Step",
    "anomaly_map",
    "denoise",
    "export",
    "image_score",
    "infer",
    "level_maps",
    "load_official",
    "load_stable_diffusion",
    "make_scheduler",
    "of_width",
    "official_state",
    "timesteps",
    "walk",
]
