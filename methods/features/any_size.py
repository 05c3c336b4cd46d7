"""Let backbones with positions or windows (ViT, DINOv2, Swin) accept other sizes than timm's, or refuse a size."""

from __future__ import annotations

import functools
from typing import Any

import timm
import torch

from diadbench.common.errors import UserError

#: Arguments that let timm's model families accept other sizes: position embeddings are interpolated, windows padded.
_WAYS: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True},
    {"strict_img_size": False, "dynamic_mask": True},
    {"strict_img_size": False},
)


@functools.cache
def any_size_options(architecture: str) -> dict[str, Any]:
    """Return the arguments of ``timm.create_model`` that let an architecture take other sizes; ``{}`` for none needed.

    Weights are the same with and without them, and so are features at the architecture's own size.
    """
    with torch.device("meta"):
        patches = getattr(timm.create_model(architecture, pretrained=False), "patch_embed", None)
        if not getattr(patches, "strict_img_size", getattr(patches, "img_size", None) is not None):
            return {}
        for way in _WAYS:
            try:
                timm.create_model(architecture, pretrained=False, **way)
            except TypeError:
                continue
            return way
    return {}


@functools.cache
def channels_last(architecture: str) -> bool:
    """Whether timm's feature network of an architecture returns maps as ``(B,h,w,C)``."""
    with torch.device("meta"):
        network = timm.create_model(architecture, pretrained=False)
    return str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")


@functools.cache
def check_size(name: str, size: tuple[int, int]) -> None:
    """Refuse a size that a backbone doesn't accept. Only shapes are computed.

    Args:
        name: A timm model.
        size: ``(H, W)`` of the images.

    Raises:
        UserError: The network doesn't accept the size.
    """
    architecture = name.partition(".")[0]
    own = timm.get_pretrained_cfg(name)
    with torch.device("meta"):
        options = any_size_options(architecture)
        network = timm.create_model(architecture, pretrained=False, features_only=True, **options).eval()
        try:
            with torch.no_grad():
                network(torch.empty(1, 3, *size))
        except NotImplementedError:
            return  # An operation without shape inference; the run will show whether it works.
        except (AssertionError, RuntimeError, ValueError) as error:
            native = f" (its own is {own.input_size[1]}x{own.input_size[2]})" if own is not None else ""
            reason = " ".join(str(error).split())[:80].rstrip(".")
            raise UserError(
                f"backbone {name}: takes no images of {size[0]}x{size[1]}{native}: {reason}; choose another image_size"
            ) from error
