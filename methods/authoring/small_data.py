"""A few small images in memory, for the conformance suite, tests and tutorials."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from diadbench.datasets.decoding.data import TrainData


class SmallData(TrainData):
    """Training data from tensors in memory.

    Args:
        images: ``float32 (N,3,H,W)`` in [0,1].
        class_ids: ``int64 (N,)``.
        class_names: Names of the class ids.
    """

    def __init__(self, images: Tensor, class_ids: Tensor, class_names: Sequence[str]) -> None:
        self._images = images
        self.class_names = tuple(class_names)
        self.class_ids = class_ids
        self.index = torch.arange(len(images))
        self.image_size = (images.shape[2], images.shape[3])
        self.fingerprint = hashlib.sha256(images.numpy().tobytes() + class_ids.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"{i}: the training images end at {len(self) - 1}")
        return {"image": self._images[i], "class_id": self.class_ids[i], "index": self.index[i]}

    def images(self, indices: Tensor | list[int]) -> Tensor:
        """Return the images at the given positions."""
        return self._images[torch.as_tensor(indices, dtype=torch.int64)]

    def kept(self, indices: Tensor | list[int]) -> Tensor:
        """Return the images at the given positions, which are kept as ``float32``."""
        return self.images(indices)


def normal_images(count: int, class_id: int, *, size: int = 64, seed: int = 0) -> Tensor:
    """Return ``float32 (count,3,size,size)``: stripes of one direction, period and colour for each class id."""
    generator = torch.Generator().manual_seed(1000 * seed + class_id)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    angle = torch.tensor(0.6 * class_id)
    phase = torch.rand(count, 1, 1, generator=generator) * 6.3
    wave = torch.sin((x * angle.cos() + y * angle.sin()) * (0.35 + 0.15 * class_id) + phase)
    colour = torch.tensor([0.25, 0.45, 0.65]).roll(class_id).view(1, 3, 1, 1)
    noise = 0.04 * torch.randn(count, 3, size, size, generator=generator)
    return (colour + 0.2 * wave[:, None] + noise).clamp(0, 1)


def anomalous_images(count: int, class_id: int, *, size: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return normal images with a bright blot, and the blots' masks ``bool (count,size,size)``."""
    images = normal_images(count, class_id, size=size, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.randint(size // 4, 3 * size // 4, (count, 2, 1, 1), generator=generator)
    masks = (y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 <= (size / 8) ** 2
    return torch.where(masks[:, None], torch.tensor([0.95, 0.9, 0.2]).view(1, 3, 1, 1), images), masks


def small_train(classes: int = 2, *, images: int = 8, size: int = 64, seed: int = 0) -> SmallData:
    """Return training data of ``classes`` classes with ``images`` images each."""
    parts = [normal_images(images, i, size=size, seed=seed) for i in range(classes)]
    ids = torch.arange(classes).repeat_interleave(images)
    return SmallData(torch.cat(parts), ids, [f"stripes{i}" for i in range(classes)])
