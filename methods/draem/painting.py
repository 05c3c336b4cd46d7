"""Paint DRAEM's anomalies on a GPU for a whole batch at once.

Random numbers are drawn on the CPU, some thousands per image from one generator seeded with the step's seed and the
position in the batch, and copied together; pixels are computed on the GPU. Shares, ranges and operations are those of
:mod:`diadbench.methods.draem.synthesis`. The images have a similar distribution, but the numbers differ.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.methods.draem import operations
from diadbench.methods.draem.operations import cutting, resampled, turning
from diadbench.methods.draem.perlin import THRESHOLD, octaves
from diadbench.methods.draem.synthesis import NORMAL, TURN, Pairs
from diadbench.methods.draem.textures import FolderTextures
from diadbench.methods.features.stored_images import as_float, kept
from diadbench.methods.training.feeding import mix

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: Maximum number of cells along a side of a noise, and the gradients of one noise.
CELLS = 32
GRID = (CELLS + 1) ** 2
#: Noises of an image: the mask's, three octaves of the colour noise, and one that bends the stripes.
NOISES = 5
#: Random numbers of an image besides the gradients.
SCALARS = 64


class ImagesWithTextures:
    """Batches of a training on a GPU: images, and a texture image for each. It can be sent to other processes.

    Args:
        train: The images.
        folder: Textures; ``None``: pieces of other training images are used.
        seed: The run's seed, which with the batch and the position in it decides the choice.
    """

    def __init__(self, train: TrainData, folder: FolderTextures | None, seed: int) -> None:
        self._train, self._folder, self._seed = train, folder, seed

    def read_at(self, indices: Tensor, batch: int, rows: tuple[int, ...]) -> dict[str, Tensor]:
        """Return both as they are stored: ``uint8 (B,3,H,W)``; textures of a folder as ``float32`` in [0,1]."""
        seeds = [mix(self._seed, batch, row) for row in rows]
        if self._folder is None:
            others = [int(np.random.default_rng(seed).integers(0, len(self._train))) for seed in seeds]
            return {"image": kept(self._train, indices), "texture": kept(self._train, torch.tensor(others))}
        size = self._train.image_size
        textures = torch.stack([self._folder(size, torch.Generator().manual_seed(seed)) for seed in seeds])
        return {"image": kept(self._train, indices), "texture": textures}

    def read(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the same for the first batch of a training."""
        return self.read_at(indices, 0, tuple(range(len(indices))))

    def finish(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert both to ``float32`` in [0,1]."""
        return {name: as_float(images) for name, images in batch.items()}

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the batch of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


def draw(seed: int, places: Iterable[int]) -> NDArray[np.float32]:
    """Return the random numbers of images: ``float32 (B, SCALARS + NOISES * GRID)`` in [0,1).

    Args:
        seed: Seed of the whole batch.
        places: Positions of the images in it.
    """
    rows = [np.random.default_rng([seed, place]) for place in places]
    return np.stack([row.random(SCALARS + NOISES * GRID, dtype=np.float32) for row in rows])


def paint(images: Tensor, textures: Tensor, drawn: NDArray[np.float32], *, pieces: bool) -> Pairs:
    """Return pairs of a batch, on the images' device.

    Args:
        images: ``float32 (B,3,H,W)`` in [0,1].
        textures: ``float32 (B,3,H,W)`` in [0,1]: a texture image for each.
        drawn: Result of :func:`draw`.
        pieces: ``textures`` are training images: a third of the images use a piece of them, the others noise and
            stripes. Otherwise they are textures that are used as they are.
    """
    device, size = images.device, (images.shape[2], images.shape[3])
    scalars = drawn[:, :SCALARS]
    painted = np.flatnonzero(scalars[:, 2] >= NORMAL)
    plan = _Plan(scalars, size, painted, pieces)
    numbers = operations.sent(np.concatenate([plan.numbers.ravel(), drawn[painted, SCALARS:].ravel()]), device)
    table = numbers[: plan.numbers.size].view(plan.numbers.shape)
    gradients = numbers[plan.numbers.size :].view(len(painted), NOISES, GRID)

    turned = resampled(images, table[:, 0:6].view(-1, 2, 3))
    if not len(painted):
        return Pairs(turned, turned, torch.zeros_like(images[:, :1]))
    others = np.setdiff1d(np.arange(len(images)), painted)
    order = np.concatenate([painted, others])
    places = operations.sent(np.concatenate([order, np.argsort(order)]), device)
    rows, back = places[: len(painted)], places[len(order) :]
    chosen, clean = table.index_select(0, rows), turned.index_select(0, rows)
    noises = perlin(gradients.flatten(0, 1), chosen[:, 24:34].reshape(-1, 2), size).view(-1, NOISES, *size)
    mask = (resampled(noises[:, :1], chosen[:, 6:12].view(-1, 2, 3)) > THRESHOLD).float()
    source = textures.index_select(0, rows)
    texture = _procedural(chosen, noises, source, size) if pieces else source
    texture = operations.augmented(texture, plan.operations, scalars[painted, 40:])
    corrupted = torch.where(mask > 0, torch.lerp(texture, clean, chosen[:, 34].view(-1, 1, 1, 1)), clean)
    left = turned.index_select(0, places[len(painted) : len(order)])
    whole = torch.cat([corrupted, left]).index_select(0, back)
    return Pairs(turned, whole, torch.cat([mask, torch.zeros_like(left[:, :1])]).index_select(0, back))


class _Plan:
    """The decisions for each image, made on the CPU, as one table of numbers for the GPU.

    Columns of ``numbers``: matrices of the image's turn (0 to 5), of the mask's (6 to 11), of the piece of a texture
    (12 to 17), 18 to 23 two colours, 24 to 33 cells of the five noises, 34 beta, 35 to 37 which texture, 38 and 39
    the waves of the stripes along rows and columns.
    """

    def __init__(
        self, scalars: NDArray[np.float32], size: tuple[int, int], painted: NDArray[np.int64], pieces: bool
    ) -> None:
        count = len(scalars)
        numbers = np.zeros((count, 40), dtype=np.float32)
        angles = [_range(scalars[:, column], -math.pi / 2, math.pi / 2) for column in (1, 3)]
        numbers[:, 0:6] = turning(angles[0] * (scalars[:, 0] < TURN), size)
        numbers[:, 6:12] = turning(angles[1], size)
        height, width = _range(scalars[:, 17], 0.25, 1), _range(scalars[:, 18], 0.25, 1)
        numbers[:, 12:18] = cutting(scalars[:, 19] * (1 - height), scalars[:, 20] * (1 - width), height, width)
        numbers[:, 18:24] = scalars[:, 9:15]
        for place, side in enumerate(size):
            numbers[:, 24 + place] = 2.0 ** np.floor(scalars[:, 4 + place] * octaves(side))
        base = 2.0 ** np.floor(1 + scalars[:, 6] * 3)
        for octave in range(3):
            numbers[:, 26 + 2 * octave : 28 + 2 * octave] = (base * 2**octave)[:, None]
        numbers[:, 32:34] = 4
        numbers[:, 34] = _range(scalars[:, 7], 0, 0.8)
        kind = np.floor(scalars[:, 8] * 3).astype(int).clip(0, 2)
        numbers[np.arange(count), 35 + kind] = 1
        direction, frequency = _range(scalars[:, 15], 0, 2 * math.pi), _range(scalars[:, 16], 20, 200)
        numbers[:, 38], numbers[:, 39] = np.cos(direction) * frequency, np.sin(direction) * frequency
        self.numbers = numbers
        #: Three of the ten operations for each painted image, in random order.
        self.operations = np.argsort(scalars[painted, 21:31], axis=1)[:, :3]


def _range(shares: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    return (low + (high - low) * shares).astype(np.float32)


def perlin(gradients: Tensor, cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Return Perlin noises ``float32 (N,H,W)``, each with its own number of cells.

    Args:
        gradients: Angles as shares of a turn ``(N, GRID)``, on a grid of 33 x 33 of which the first are used.
        cells: ``(N,2)`` cells along rows and columns, 1 to 32.
        size: ``(H, W)``.
    """
    angles = gradients * (2 * math.pi)
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    y, x = (_shares(n, cells.device) * cells[:, axis, None] for axis, n in enumerate(size))
    row, column = torch.minimum(y.floor(), cells[:, :1] - 1), torch.minimum(x.floor(), cells[:, 1:] - 1)
    place = (row[:, :, None] * (CELLS + 1) + column[:, None]).long().flatten(1)
    corners = torch.cat([place, place + 1, place + (CELLS + 1), place + (CELLS + 2)], 1)
    found = vectors.gather(2, corners[:, None].expand(-1, 2, -1)).view(len(cells), 2, 2, 2, *size)
    y, x = y - row, x - column
    near_y, near_x = torch.stack([y, y - 1], 1), torch.stack([x, x - 1], 1)  # relative to either corner
    slopes = found[:, 0] * near_y[:, :, None, :, None] + found[:, 1] * near_x[:, None, :, None]
    across = torch.lerp(slopes[:, :, 0], slopes[:, :, 1], _fade(x)[:, None, None])
    return math.sqrt(2) * torch.lerp(across[:, 0], across[:, 1], _fade(y)[:, :, None])


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (6 * t - 15) + 10)


def _procedural(numbers: Tensor, noises: Tensor, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return colour noise, stripes or a piece of an image for each image, ``(B,3,H,W)`` in [0,1]."""
    field = noises[:, 1] + noises[:, 2] / 2 + noises[:, 3] / 4
    y, x = (_line(side, noises.device) for side in size)
    along, across = numbers[:, 38, None, None], numbers[:, 39, None, None]
    stripes = torch.addcmul(torch.addcmul(4 * noises[:, 4], along, y[:, None]), across, x).sin()
    kinds = numbers[:, 35:38, None, None].unbind(1)
    low, high = numbers[:, 18:21, None, None], numbers[:, 21:24, None, None]
    coloured = torch.lerp(low, high, (torch.addcmul(kinds[0] * field, kinds[1], stripes)[:, None] + 1) / 2)
    pieces = resampled(images, numbers[:, 12:18].view(-1, 2, 3), padding="border")
    return torch.where(kinds[2][:, None] > 0, pieces, coloured).clamp(0, 1)


@functools.lru_cache(maxsize=8)
def _shares(side: int, device: torch.device) -> Tensor:
    """Return the positions of pixels as shares of a side: 0, 1/n, ... ``(side,)``."""
    with torch.inference_mode(False):
        return (torch.arange(side) / side).to(device)


@functools.lru_cache(maxsize=8)
def _line(side: int, device: torch.device) -> Tensor:
    """Return numbers from 0 to 1, ends included: ``(side,)``."""
    with torch.inference_mode(False):
        return torch.linspace(0, 1, side).to(device)
