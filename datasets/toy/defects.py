"""The toy dataset's four kinds of defects, each with an exact mask of the changed pixels.

A defect takes a scene and returns ``(image, mask)``: ``float64 (S,S,3)`` and ``bool (S,S)``. ``strength`` in (0,1] is
its visibility.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diadbench.datasets.toy.scenes import Floats

Mask = npt.NDArray[np.bool_]
Spoiled = tuple[Floats, Mask]
#: Placements with a smaller mean change of the pixels (of 1) are drawn again.
_VISIBLE = 0.05
_TRIES = 50


def blot(image: Floats, body: Floats, rng: np.random.Generator, strength: float) -> Spoiled:
    """Draw a stain with a ragged edge: dark oil, rust or bleach."""
    alpha = _blob(body, rng, rng.uniform(0.18, 0.30), ragged=0.35)
    stain = np.array([(0.10, 0.09, 0.08), (0.48, 0.26, 0.10), (0.93, 0.93, 0.90)][rng.integers(3)])
    density = alpha * (0.3 + 0.6 * strength)
    return image + (stain - image) * density[..., None], alpha > 0


def scratch(image: Floats, body: Floats, rng: np.random.Generator, strength: float) -> Spoiled:
    """Draw a bent line, brighter or darker than the background."""
    size = len(image)
    middle, angle, length = _somewhere(body, rng), rng.uniform(0, np.pi), rng.uniform(0.35, 0.65)
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    bend = np.array([-along[1], along[0]]) * rng.uniform(-0.5, 0.5)
    t = np.linspace(-1, 1, 4 * size)[:, None]
    curve = (middle + along * t + bend * (1 - t**2) + 1) * size / 2 - 0.5
    far = np.ones((size, size))
    x, y = np.rint(curve[:, 0]).astype(int), np.rint(curve[:, 1]).astype(int)
    there = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    far[y[there], x[there]] = 0
    width = rng.uniform(2.5, 4.0) * size / 128
    alpha = _cut(np.clip(width + 0.5 - ndimage.distance_transform_edt(far), 0, 1) * body)
    change = rng.choice([-1.0, 1.0]) * (0.12 + 0.38 * strength)
    return image + change * alpha[..., None], alpha > 0


def displaced(image: Floats, body: Floats, rng: np.random.Generator, strength: float) -> Spoiled:
    """Cut out a patch and put it back rotated and shifted, so that the structure is interrupted."""
    size = len(image)
    side = rng.uniform(0.28, 0.44) * (0.75 + 0.25 * strength)
    x, y = _unit(size)
    middle = _somewhere(body, rng)
    inside = np.maximum(np.abs(x - middle[0]), np.abs(y - middle[1])) - side / 2
    alpha = _cut(np.clip(0.5 - inside * size / 2, 0, 1) * (body > 0.02))
    shift = rng.choice([-1, 1], 2) * rng.integers(int(0.05 * size), int(0.14 * size) + 2, 2)
    turned = np.rot90(image) if rng.random() < 0.5 else image
    moved = np.roll(turned, tuple(int(s) for s in shift), (0, 1))
    return image + (moved - image) * alpha[..., None], alpha > 0


def smear(image: Floats, body: Floats, rng: np.random.Generator, strength: float) -> Spoiled:
    """Remove a patch's structure and some of its light."""
    alpha = _blob(body, rng, rng.uniform(0.22, 0.34), ragged=0.15)
    blurred = ndimage.gaussian_filter(image, (len(image) * 0.05, len(image) * 0.05, 0), mode="nearest")
    dark = blurred * (1 - 0.45 * strength)
    return image + (dark - image) * (alpha * (0.5 + 0.5 * strength))[..., None], alpha > 0


#: Names of defects, and the functions that draw them.
DEFECTS: dict[str, Callable[[Floats, Floats, np.random.Generator, float], Spoiled]] = {
    "blot": blot,
    "scratch": scratch,
    "displaced": displaced,
    "smear": smear,
}


def spoiled(name: str, image: Floats, body: Floats, rng: np.random.Generator, strength: float) -> Spoiled:
    """Apply a defect; an invisible placement (a patch moved onto an equal one) is drawn again."""
    for _ in range(_TRIES):
        result, mask = DEFECTS[name](image, body, rng, strength)
        if mask.sum() >= 4 and np.abs(result - image)[mask].mean() >= _VISIBLE:
            return result, mask
    raise AssertionError(f"no visible {name} in {_TRIES} tries")


def _unit(size: int) -> tuple[Floats, Floats]:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def _somewhere(body: Floats, rng: np.random.Generator) -> Floats:
    """Draw a point of the object away from the image's edge, as ``(x, y)`` in [-1,1]."""
    size = len(body)
    x, y = _unit(size)
    places = np.argwhere((body > 0.9) & (np.maximum(np.abs(x), np.abs(y)) < 0.85))
    row, column = places[rng.integers(len(places))]
    return np.array([x[row, column], y[row, column]])


def _blob(body: Floats, rng: np.random.Generator, radius: float, ragged: float) -> Floats:
    """Return the coverage of a round spot with a ragged edge, within the object."""
    size = len(body)
    x, y = _unit(size)
    middle = _somewhere(body, rng)
    angle = np.arctan2(y - middle[1], x - middle[0])
    waves = sum(rng.normal(0, 1 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    edge = radius * np.clip(1 + ragged * waves, 0.4, 1.8)
    return _cut(np.clip(0.5 + (edge - np.hypot(x - middle[0], y - middle[1])) * size / 12, 0, 1) * body)


def _cut(alpha: Floats) -> Floats:
    """Set the faintest fringe to zero, so that exactly the pixels in the mask change."""
    cut: Floats = np.where(alpha > 0.25, alpha, 0.0)
    return cut
