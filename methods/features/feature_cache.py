"""Frozen features of the training images, computed once, kept in half precision as a cached array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diadbench.common.cache.arrays import ArrayPlan, CachedArray, Progress, batches, build, known_row_shape
from diadbench.common.errors import UserError
from diadbench.common.wording import counted, some
from diadbench.methods.features.stored_images import images_on

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: Raise this when the layout on disk changes, so that old caches are not found.
LAYOUT = 2
#: Maximum number of images of a shard, and thus of images that are lost with a killed build.
SHARD_IMAGES = 512


@dataclass(frozen=True)
class FeatureCache:
    """Features ``float16 (N,C,h,w)`` of the ``N`` training images, in a memory map. It can be sent to other processes.

    Attributes:
        array: The cached array.
    """

    array: CachedArray

    def __len__(self) -> int:
        return len(self.array)

    def read(self, indices: Tensor | list[int]) -> Tensor:
        """Return ``float32 (n,C,h,w)`` of the given positions, on the CPU."""
        return torch.from_numpy(self.array.gather(np.asarray(indices))).float()

    def error(self, exact: Tensor, indices: Tensor | list[int]) -> float:
        """Return the root mean square error of half precision, relative to the root mean square of the features."""
        exact = exact.detach().cpu().float()
        return ((self.read(indices) - exact).square().mean() / exact.square().mean()).sqrt().item()


def cache_key(train: TrainData, device: torch.device, **facts: Any) -> str:
    """Return the digest of all that decides the features.

    Args:
        train: The images; their fingerprint covers size and resize filter.
        device: Device that computes the features; its kind and its TF32 setting decide their last digits.
        facts: Facts of the network, as JSON values.
    """
    images = {"images": train.fingerprint, "size": list(train.image_size)}
    content = {"layout": LAYOUT, **images, "arithmetic": arithmetic(device), **facts}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def build_cache(
    extract: Callable[[Tensor], Tensor],
    train: TrainData,
    directory: Path,
    device: torch.device,
    *,
    batch_size: int = 16,
    shard_images: int = SHARD_IMAGES,
    progress: Progress = lambda done, total, what: None,
    **facts: Any,
) -> FeatureCache:
    """Open the cache of these images and this network; compute it first if it is missing or incomplete.

    Args:
        extract: Maps images ``float32 (B,3,H,W)`` in [0,1] on ``device`` to features ``(B,C,h,w)`` on any device.
        train: The images.
        directory: Directory of the caches; several processes may share it.
        device: Device on which ``extract`` computes; images reach a GPU without waiting.
        batch_size: Images at a time.
        shard_images: Images of a shard, which a killed build loses at most.
        progress: Called with the number of images done.
        facts: What decides the features besides the images (digest of weights, padding, ...), as JSON values.

    Raises:
        UserError: A feature is too large for half precision, or not finite; or the disk is full.
    """
    place = directory / cache_key(train, device, **facts)

    def half(chosen: list[int]) -> npt.NDArray[np.float16]:
        features = extract(images_on(train, chosen, device)).half().cpu()
        if not torch.isfinite(features).all():
            raise UserError("feature cache: features don't fit half precision (above 65504 or not finite); turn it off")
        return features.numpy()

    plan = ArrayPlan(
        place,
        len(train),
        known_row_shape(place) or tuple(extract(images_on(train, [0], device)).shape[1:]),
        "float16",
        batches(half, batch_size),
        what="features",
        about=f"{facts.get('backbone', 'features')} of {described(train)}",
        shard_rows=shard_images,
        batch=batch_size,
    )
    array = build(plan, lambda done, total, what: progress(done, total, what or "features"))
    assert array is not None, "a batch fills all its rows or raises"
    return FeatureCache(array)


def described(train: TrainData) -> str:
    """Return a description of the images for people: how many, of which classes, at which size."""
    names = train.class_names
    classes = names[0] if len(names) == 1 else f"{len(names)} classes ({some(names, most=1)})"
    return f"{counted(len(train), 'image')} of {classes} at {train.image_size[0]}x{train.image_size[1]}"


def arithmetic(device: torch.device) -> dict[str, Any]:
    """Return the kind of device and how torch multiplies float32 numbers on it, as JSON values.

    TF32 and bfloat16 products of float32 numbers differ from full ones in the third digit, so features that were
    computed with them must have another key.
    """
    facts: dict[str, Any] = {"device": device.type, "float32_products": _products()}
    if device.type == "cuda":
        facts["tf32"] = [_precision(torch.backends.cuda.matmul), _precision(torch.backends.cudnn, "conv")]
    elif device.type == "cpu":
        facts["mkldnn"] = [_precision(torch.backends.mkldnn, part) for part in ("matmul", "conv")]
    return facts


def _products() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch answers only where GPU and CPU are set alike; both are facts of their own
        return "mixed"


def _precision(backend: Any, part: str | None = None) -> str:
    """Return a backend's precision of float32 products: torch's newer name of it, else whether TF32 is allowed."""
    chosen = getattr(backend, part, backend) if part else backend
    found = getattr(chosen, "fp32_precision", None)
    return str(found if found is not None else getattr(backend, "allow_tf32", "none"))
