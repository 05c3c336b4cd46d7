"""Names of pretrained networks as ``model.tag``. The tag selects the weights; timm has several for most models.

Without a tag timm takes its present default, which is rarely what a paper used:
``tf_efficientnet_b4`` is the Noisy-Student network, ``wide_resnet50_2`` was trained by timm's own recipe.
"""

from __future__ import annotations

import timm

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import some

#: The tags of the weights that the authors of published methods used, with the methods.
#:
#: UniAD's ``efficientnet-b4-6ed6700e`` and ADer's ``tf_efficientnet_b4_aa-818f208c`` are the AutoAugment weights.
#: PatchCore's, PaDiM's and STFPM's networks are torchvision's first ones. DiAD pins timm 0.8.15, whose ``resnet50`` is
#: ``resnet50_a1_0-14fe96d1``.
AUTHORS: dict[str, tuple[str, str]] = {
    "tf_efficientnet_b4": ("aa_in1k", "UniAD, ADer"),
    "wide_resnet50_2": ("tv_in1k", "PatchCore, PaDiM"),
    "resnet18": ("tv_in1k", "PaDiM, STFPM"),
    "resnet50": ("a1_in1k", "DiAD"),
}


def known_tags(name: str) -> list[str]:
    """Return the tags of the pretrained weights that timm has for a model, sorted; ``name`` may have a tag."""
    architecture = name.partition(".")[0]
    return sorted(model.partition(".")[2] for model in timm.list_pretrained(f"{architecture}.*"))


def resolved_tag(name: str) -> str:
    """Return the tag of the weights that timm takes for ``name``: its own, or timm's default; ``""`` for none."""
    known = timm.get_pretrained_cfg(name)
    return str(known.tag or "") if known is not None else ""


def check_name(name: str) -> None:
    """Refuse models, and tags of a model, that timm doesn't have. Raises UserError."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown_name("backbone", name, timm.list_models())
    if tag and tag not in known_tags(name):
        raise unknown_name(f"weights of {architecture}", tag, known_tags(name))


def check_backbone(name: str, weights: str) -> None:
    """Refuse a backbone name that doesn't identify its weights.

    Args:
        name: A timm model, ``model.tag`` where ``weights`` is ``hub``.
        weights: As for :func:`~diadbench.methods.features.backbones.load_backbone`. Files, packages and random
            weights identify themselves and need no tag.

    Raises:
        UserError: Unknown model or tag; no tag for weights from the hub.
    """
    check_name(name)
    if weights != "hub" or "." in name:
        return
    tags = known_tags(name)
    if not tags:
        return  # Loading reports that there are no weights.
    tag, who = AUTHORS.get(name, ("", ""))
    if tag:
        hint = f"did you mean {name}.{tag} (the weights of {who})?"
    elif len(tags) == 1:
        hint = f"did you mean {name}.{tags[0]}?"
    else:
        hint = f"for example {name}.{tags[0]}"
    default = resolved_tag(name)
    raise UserError(
        f"backbone: expected model.tag, found {name!r}, for which timm would take {default} unasked; {hint} "
        f"timm has the tags {some(tags)}"
    )
