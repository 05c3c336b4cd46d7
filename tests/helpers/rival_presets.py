"""The authors' settings of the presets that rival DiAD."""

from __future__ import annotations

from typing import Any

#: preset -> model, size of the images, size of the model's input, options that are the authors' settings
PRESETS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "dinomaly": (
        "Dinomaly",
        448,
        392,
        {
            "encoder_name": "vit_base_patch14_reg4_dinov2.lvd142m",
            "max_steps": 10_000,
            "max_epochs": -1,
            "batch_size": 16,
            "bottleneck_dropout": 0.2,
            "decoder_depth": 8,
            "remove_class_token": False,
            "use_context_recentering": False,
            "lr_interval": "step",
            "drop_last": True,
            "adam_eps": 1e-10,
        },
    ),
    "inp-former": (
        "InpFormer",
        448,
        392,
        {
            "encoder_name": "vit_base_patch14_reg4_dinov2.lvd142m",
            "max_epochs": 200,
            "max_steps": -1,
            "batch_size": 16,
            "inp_num": 6,
            "remove_class_token": True,
            "lr_interval": "step",
            "drop_last": True,
        },
    ),
    "rd4ad": (
        "ReverseDistillation",
        256,
        256,
        {
            "backbone": "wide_resnet50_2",
            "tag": "tv_in1k",
            "layers": ["layer1", "layer2", "layer3"],
            "anomaly_map_mode": "add",
            "max_epochs": 200,
            "batch_size": 16,
            "drop_last": False,
            "adam_betas": [0.5, 0.999],
        },
    ),
    "supersimplenet": (
        "Supersimplenet",
        256,
        256,
        {
            "backbone": "wide_resnet50_2.tv_in1k",
            "layers": ["layer2", "layer3"],
            "max_epochs": 300,
            "batch_size": 32,
            "drop_last": False,
            "perlin_threshold": 0.2,
            "supervised": False,
            "adapt_cls_features": True,
        },
    ),
    "anomalydino": (
        "AnomalyDINO",
        448,
        448,
        {"encoder_name": "vit_small_patch14_dinov2.lvd142m", "num_neighbours": 1, "coreset_subsampling": False},
    ),
    "rad": (
        "Rad",
        512,
        448,
        {
            "backbone": "vit_base_patch16_dinov3.lvd1689m",
            "layers": [3, 6, 9, 11],
            "layer_weights": None,  # equal ones
            "k_image": 150,
            "use_positional_bank": True,
            "pos_radius": 1,
            "max_ratio": 0.01,
        },
    ),
}
