"""Small options of the methods that train or hold a bank, for cases on a GPU."""

from __future__ import annotations

from typing import Any

DIAD: dict[str, Any] = {
    "size": "tiny",
    "weights": "random",
    "autoencoder_steps": 0,
    "train_steps": 4,
    "batch_size": 2,
    "accumulate": 1,
    "steps": 10,
    "backbone": "resnet50",
    "backbone_weights": "random",
    "checkpointing": False,
}
UNIAD: dict[str, Any] = {
    "backbone": "tf_efficientnet_b4",
    "weights": "random",
    "steps": 4,
    "neighbor_size": 3,
    "lr_drop": 1.0,  # another learning rate is another graph
}
DRAEM: dict[str, Any] = {"steps": 4, "width": 16, "batch_size": 8}
LITE: dict[str, Any] = {"backbone": "resnet18", "weights": "random"}
PADIM: dict[str, Any] = {**LITE, "n_features": 8, "batch_size": 2}
#: name -> (method, options, image size)
METHODS: dict[str, tuple[str, dict[str, Any], int]] = {
    "diad": ("diad", DIAD, 64),
    "diad-images": ("diad", {**DIAD, "cache_latents": False, "precision": "32-true", "sff_init": "official"}, 64),
    "diad-autoencoder": (
        "diad",
        {**DIAD, "ablation": "autoencoder", "autoencoder_steps": 4, "autoencoder_batch_size": 2}
        | {"autoencoder_accumulate": 1},
        64,
    ),
    "uniad": ("uniad", UNIAD, 64),
    "uniad-images": ("uniad", {**UNIAD, "cache": False}, 64),
    "draem": ("draem", DRAEM, 64),
    "patchcore": ("patchcore", {**LITE, "start": "random"}, 64),
    "mean-image": ("mean-image", {}, 64),
    "pixel-knn": ("pixel-knn", {}, 64),
    "global-knn": ("global-knn", LITE, 64),
}
