"""Find which pretrained weights an anomalib model uses, and whether the method's authors used others.

anomalib names most networks without a tag, so timm takes its newest weights, not those of the papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision.models
from torch import nn

#: Tags of the weights of the authors' own code, for ResNets: these models' authors load torchvision's first weights
#: (``wide_resnet50_2-95faca4d``, ``resnet18-5c106cde``), which timm calls ``tv_in1k``. Read in hq-deng/RD4AD,
#: gudovskiy/cflow-ad, sungwool/CFA_for_anomaly_localization, gdwang08/STFPM, cqylunlun/GLASS,
#: amazon-science/patchcore-inspection and, for PaDiM, xiahaifeng1995's code.
AUTHORS: dict[str, str] = dict.fromkeys(
    ("Cfa", "Cflow", "Glass", "Padim", "Patchcore", "ReverseDistillation", "Stfpm", "Supersimplenet"), "tv_in1k"
)

#: Models that use torchvision's default weights of the network that this argument names.
_TORCHVISION = {"Cfa": "backbone", "UniNet": "teacher_backbone"}


def weights_found(name: str, model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the pretrained networks in a model and the tags of their weights, as the libraries resolved them.

    Args:
        name: Name of the anomalib model.
        model: The model, built.
        arguments: The arguments it was built with, including defaults.

    Returns:
        ``{"wide_resnet50_2": "racm_in1k"}``; torchvision's weights by their own names (``IMAGENET1K_V2``). Empty for
        a model that has neither.
    """
    found: dict[str, str] = {}
    for part in model.modules():
        config = getattr(part, "pretrained_cfg", None)
        if isinstance(config, dict) and config.get("architecture"):
            found[str(config["architecture"])] = str(config.get("tag") or "untagged")
    if name in _TORCHVISION:
        found |= _torchvision(arguments.get(_TORCHVISION[name]))
    return found


def weights_notes(name: str, found: Mapping[str, str]) -> list[str]:
    """Return a note for each network whose weights are not the ones of the method's authors."""
    expected = AUTHORS.get(name)
    if expected is None:
        return []
    same = {expected, "IMAGENET1K_V1"} if expected == "tv_in1k" else {expected}
    return [
        f"{name} with anomalib's weights {network}.{tag}; the authors' are {network}.{expected}"
        for network, tag in found.items()
        if "resnet" in network and tag not in same
    ]


def _torchvision(network: object) -> dict[str, str]:
    if network not in torchvision.models.list_models():
        return {}
    return {str(network): str(torchvision.models.get_model_weights(str(network))["DEFAULT"].name)}
