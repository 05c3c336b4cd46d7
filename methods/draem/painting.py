"""Paint DRAEM's anomalies on a GPU for a whole batch at once.

Random numbers are drawn on the CPU, some thousands per image from one generator seeded with the step's seed and the
position in the batch, and copied together; pixels are computed on the GPU. Shares, ranges and operations are those of
:mod:`diadbench.methods.draem.synthesis`. The images have a similar distribution, but the numbers differ.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.methods.draem import operations
from diadbench.methods.draem.operations import resampled, rotated
from diadbench.methods.draem.perlin import THRESHOLD, octaves
from diadbench.methods.draem.synthesis import NORMAL, TURN, Pairs
from diadbench.methods.draem.textures import FolderTextures
from diadbench.methods.training.feeding import as_float, kept, mix

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
        seed: The run's seed, which with the positions of the images decides the choice.
    """

    def __init__(self, train: TrainData, folder: FolderTextures | None, seed: int) -> None:
        self._train, self._folder, self._seed = train, folder, seed

    def read(self, indices: Tensor) -> dict[str, Tensor]:
        """Return both as they are stored: ``uint8 (B,3,H,W)``; textures of a folder as ``float32`` in [0,1]."""
        seed = mix(self._seed, *indices.tolist())
        if self._folder is None:
            others = np.random.default_rng(seed).integers(0, len(self._train), len(indices))
            return {"image": kept(self._train, indices), "texture": kept(self._train, torch.from_numpy(others))}
        generator, size = torch.Generator().manual_seed(seed), self._train.image_size
        textures = torch.stack([self._folder(size, generator) for _ in indices])
        return {"image": kept(self._train, indices), "texture": textures}

    def finish(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert both to ``float32`` in [0,1]."""
        return {name: as_float(images) for name, images in batch.items()}

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the batch of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


def draw(seed: int, count: int) -> NDArray[np.float32]:
    """Return the random numbers for ``count`` images: ``float32 (count, SCALARS + NOISES * GRID)`` in [0,1)."""
    rows = [np.random.default_rng([seed, place]) for place in range(count)]
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

    turned = rotated(images, table[:, 1] * (table[:, 0]))
    if not len(painted):
        return Pairs(turned, turned, torch.zeros_like(images[:, :1]))
    others = np.setdiff1d(np.arange(len(images)), painted)
    order = np.concatenate([painted, others])
    places = operations.sent(np.concatenate([order, np.argsort(order)]), device)
    rows, back = places[: len(painted)], places[len(order) :]
    chosen, clean = table.index_select(0, rows), turned.index_select(0, rows)
    noises = perlin(gradients.flatten(0, 1), chosen[:, 4:14].reshape(-1, 2), size).view(-1, NOISES, *size)
    mask = (rotated(noises[:, :1], chosen[:, 3]) > THRESHOLD).float()
    source = textures.index_select(0, rows)
    texture = _procedural(chosen, noises, source, size) if pieces else source
    texture = operations.augmented(texture, plan.operations, scalars[painted, 40:])
    beta = chosen[:, 14].view(-1, 1, 1, 1)
    corrupted = torch.where(mask > 0, (1 - beta) * texture + beta * clean, clean)
    left = turned.index_select(0, places[len(painted) : len(order)])
    whole = torch.cat([corrupted, left]).index_select(0, back)
    return Pairs(turned, whole, torch.cat([mask, torch.zeros_like(left[:, :1])]).index_select(0, back))


class _Plan:
    """The decisions for each image, made on the CPU, as one table of numbers for the GPU.

    Columns of ``numbers``: 0 whether it is turned, 1 its angle, 3 the mask's angle, 4 to 13 cells of the five noises,
    14 beta, 15 to 17 which texture, 18 to 23 its two colours, 24 to 26 direction, frequency and weight of the stripes,
    28 to 31 the piece (top, left, height, width, as shares).
    """

    def __init__(
        self, scalars: NDArray[np.float32], size: tuple[int, int], painted: NDArray[np.int64], pieces: bool
    ) -> None:
        count = len(scalars)
        numbers = np.zeros((count, 32), dtype=np.float32)
        numbers[:, 0] = scalars[:, 0] < TURN
        numbers[:, 1] = _range(scalars[:, 1], -math.pi / 2, math.pi / 2)
        numbers[:, 3] = _range(scalars[:, 3], -math.pi / 2, math.pi / 2)
        for place, side in enumerate(size):
            numbers[:, 4 + place] = 2.0 ** np.floor(scalars[:, 4 + place] * octaves(side))
        base = 2.0 ** np.floor(1 + scalars[:, 6] * 3)
        for octave in range(3):
            numbers[:, 6 + 2 * octave : 8 + 2 * octave] = (base * 2**octave)[:, None]
        numbers[:, 12:14] = 4
        numbers[:, 14] = _range(scalars[:, 7], 0, 0.8)
        kind = np.floor(scalars[:, 8] * 3).astype(int).clip(0, 2)
        numbers[np.arange(count), 15 + kind] = 1
        numbers[:, 18:24] = scalars[:, 9:15]
        numbers[:, 24] = _range(scalars[:, 15], 0, 2 * math.pi)
        numbers[:, 25] = _range(scalars[:, 16], 20, 200)
        height, width = _range(scalars[:, 17], 0.25, 1), _range(scalars[:, 18], 0.25, 1)
        numbers[:, 28], numbers[:, 29] = scalars[:, 19] * (1 - height), scalars[:, 20] * (1 - width)
        numbers[:, 30], numbers[:, 31] = height, width
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
    y, x = (torch.arange(n, device=cells.device) * (cells[:, axis, None] / n) for axis, n in enumerate(size))
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
    y = torch.linspace(0, 1, size[0], device=noises.device)[:, None]
    x = torch.linspace(0, 1, size[1], device=noises.device)[None]
    angle, frequency = numbers[:, 24, None, None], numbers[:, 25, None, None]
    stripes = ((angle.cos() * y + angle.sin() * x) * frequency + 4 * noises[:, 4]).sin()
    kinds = numbers[:, 15:18, None, None].unbind(1)
    low, high = numbers[:, 18:21, None, None], numbers[:, 21:24, None, None]
    coloured = torch.lerp(low, high, ((kinds[0] * field + kinds[1] * stripes)[:, None] + 1) / 2)
    return torch.where(kinds[2][:, None] > 0, pieces_of(images, numbers[:, 28:32]), coloured).clamp(0, 1)


def pieces_of(images: Tensor, pieces: Tensor) -> Tensor:
    """Enlarge a piece of each of ``(B,3,H,W)`` to full size; ``(B,4)``: top, left, height, width as shares."""
    top, left, height, width = pieces.unbind(1)
    none = torch.zeros_like(top)
    matrix = torch.stack([width, none, 2 * left + width - 1, none, height, 2 * top + height - 1], 1)
    return resampled(images, matrix.view(-1, 2, 3), padding="border")
