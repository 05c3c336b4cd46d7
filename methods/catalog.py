"""The project's methods: the place of each and its facts for lists. A class takes its ``info`` from here."""

from __future__ import annotations

from dataclasses import dataclass

from diadbench.methods.info import MethodInfo


@dataclass(frozen=True)
class Entry:
    """A registered method: its import string and its facts."""

    target: str
    info: MethodInfo


def _entries(*entries: tuple[str, MethodInfo]) -> dict[str, Entry]:
    return {info.name: Entry(target, info) for target, info in entries}


CATALOG: dict[str, Entry] = _entries(
    (
        "diadbench.methods.simple.trivial:MeanImage",
        MethodInfo(
            "mean-image",
            "Mean image",
            "Squared difference to the class-free mean image.",
            batch_invariant=True,
        ),
    ),
    (
        "diadbench.methods.simple.trivial:PixelKnn",
        MethodInfo(
            "pixel-knn",
            "Pixel kNN",
            "Distance to the nearest training image at 64 pixels.",
            batch_invariant=True,
        ),
    ),
    (
        "diadbench.methods.simple.trivial:GlobalKnn",
        MethodInfo(
            "global-knn",
            "Global kNN",
            "Distance to the nearest pooled backbone feature.",
            needs=("pretrained backbone",),
            batch_invariant=True,
        ),
    ),
    (
        "diadbench.methods.patchcore.method:PatchCore",
        MethodInfo(
            "patchcore",
            "PatchCore",
            "Nearest neighbours of patch features in a coreset of the training patches.",
            paper="Towards Total Recall in Industrial Anomaly Detection",
            venue="CVPR'22",
            cite="roth2022patchcore",
            needs=("pretrained backbone",),
            batch_invariant=True,
        ),
    ),
    (
        "diadbench.methods.simple.padim:Padim",
        MethodInfo(
            "padim",
            "PaDiM",
            "Mahalanobis distance to a Gaussian at each patch position (anomalib's model).",
            paper="PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization",
            venue="ICPR'21",
            cite="defard2021padim",
            needs=("pretrained backbone",),
            batch_invariant=True,
            packages=("anomalib",),
        ),
    ),
    (
        "diadbench.methods.uniad:UniAD",
        MethodInfo(
            "uniad",
            "UniAD",
            "Transformer that reconstructs backbone features with masked neighbours and learned queries.",
            paper="A Unified Model for Multi-class Anomaly Detection",
            venue="NeurIPS'22",
            cite="you2022uniad",
            needs=("pretrained backbone",),
            supports_ddp=True,
            technical=("cuda_graph",),
        ),
    ),
    (
        "diadbench.methods.draem:Draem",
        MethodInfo(
            "draem",
            "DRAEM",
            "Reconstruction and segmentation networks trained on synthetic anomalies.",
            paper="DRAEM - A discriminatively trained reconstruction embedding for surface anomaly detection",
            venue="ICCV'21",
            cite="zavrtanik2021draem",
            supports_ddp=True,
        ),
    ),
    (
        "diadbench.methods.diad.method:DiAD",
        MethodInfo(
            "diad",
            "DiAD",
            "Latent diffusion with a semantic-guided network; the map compares features of input and reconstruction.",
            paper="A Diffusion-based Framework for Multi-class Anomaly Detection",
            venue="AAAI'24",
            cite="he2024diad",
            needs=("pretrained backbone", "Stable Diffusion 1.5 for the full size"),
            batch_invariant=True,
            supports_ddp=True,
            technical=("checkpoint_minutes",),
            later=(("spacing", "leading"), ("posterior", "sample")),
            predicting=(
                "steps",
                "start",
                "spacing",
                "n_samples",
                "posterior",
                "backbone",
                "backbone_weights",
                "levels",
                "feature_size",
                "sigma",
                "pool",
                "inference_precision",
                "compile",
            ),
        ),
    ),
    (
        "diadbench.methods.simple.given_maps:GivenMaps",
        MethodInfo(
            "maps",
            "Given maps",
            "Anomaly maps that other code has written into a folder.",
            needs=("a folder of anomaly maps",),
            batch_invariant=True,
            by_sample=True,
        ),
    ),
)
