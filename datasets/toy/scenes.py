"""The toy dataset's four classes, drawn with numpy with random phase, angle and light.

A scene is ``(image, body)``: ``float64 (S,S,3)`` in [0,1] and ``float64 (S,S)``, the share of each pixel that belongs
to the object (1 everywhere for a texture). Distances are in units of half the image's side. With random phases and
angles, the nearest neighbour in pixels is not a good detector.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Scene = tuple[Floats, Floats]


def washer(size: int, rng: np.random.Generator) -> Scene:
    """Draw a turned steel washer with six bolt holes at any angle, on a dark ribbed mat."""
    x, y = _grid(size)
    x, y = x - rng.uniform(-0.06, 0.06), y - rng.uniform(-0.06, 0.06)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    outer, inner, ring = 0.80, 0.27, 0.545
    turn = rng.uniform(0, 2 * np.pi)
    holes = np.min([np.hypot(x - ring * np.cos(a), y - ring * np.sin(a)) for a in turn + np.arange(6) * np.pi / 3], 0)
    distance = np.maximum.reduce([radius - outer, inner - radius, 0.13 - holes])
    body = _covered(distance, size, 0.05)
    grooves = 0.07 * np.sin(radius * 22 + rng.uniform(0, 6.28))
    gleam = 0.12 * np.cos(2 * (angle + 0.9)) + 0.05 * np.cos(4 * (angle + 0.3))
    bevel = 0.20 * np.exp(distance / 0.03) * np.sign(-x - y)
    steel = _tinted(0.60 + grooves + gleam + bevel, (0.97, 1.0, 1.04))
    mat = _tinted(0.36 + 0.12 * np.sin((x + y) * 13 + rng.uniform(0, 6.28)), (1.0, 1.05, 1.15))
    shadow = 1 - 0.5 * _covered(np.hypot(x - 0.04, y - 0.06) - outer - 0.02, size, 0.12)[..., None]
    return _over(mat * shadow, steel, body), body


def weave(size: int, rng: np.random.Generator) -> Scene:
    """Draw plain-woven cloth of two yarns, at any phase."""
    u, v = _turned(size, rng.uniform(-0.05, 0.05))
    u, v = u * 2.8 + rng.uniform(0, 2), v * 2.8 + rng.uniform(0, 2)
    wander = 0.02 * _clouds(size, rng, 5)
    across_warp, across_weft = _centred(u + wander), _centred(v - wander)
    warp_is_up = (np.floor(u + wander) + np.floor(v - wander)) % 2 == 0
    warp = 1 - 3.4 * across_warp**2 - 12 * across_weft**4
    weft = 1 - 3.4 * across_weft**2 - 12 * across_warp**4
    fibre = 0.02 * np.sin((u + 0.35 * v) * 40) * warp_is_up + 0.02 * np.sin((v + 0.35 * u) * 40) * ~warp_is_up
    blue, cream = np.array([0.22, 0.36, 0.58]), np.array([0.86, 0.80, 0.66])
    shade = np.where(warp_is_up, warp, weft) + fibre
    image = np.where(warp_is_up[..., None], blue, cream) * (0.35 + 0.68 * shade)[..., None]
    return image, np.ones((size, size))


def tile(size: int, rng: np.random.Generator) -> Scene:
    """Draw a wall of glazed tiles in running bond with slightly different colours, at any phase."""
    u, v = _turned(size, rng.uniform(-0.03, 0.03))
    columns, rows = 0.85, 1.7  # tiles in a unit
    u, v = u * columns + rng.uniform(0, 1), v * rows + rng.uniform(0, 2)
    row = np.floor(v)
    u = u + 0.5 * (row % 2)
    across, along = _centred(u) / columns, _centred(v) / rows
    edge = np.maximum(np.abs(across) - 0.5 / columns, np.abs(along) - 0.5 / rows) + 0.05
    glazed = _covered(edge, size)
    fired = rng.uniform(-1, 1, (8, 8))[(row % 8).astype(int), (np.floor(u) % 8).astype(int)]
    upright = np.abs(across) * columns > np.abs(along) * rows
    bevel = 0.16 * np.exp(edge / 0.035) * np.where(upright, across, along * 2) * -3
    glaze = 0.60 + 0.05 * fired + 0.01 * _clouds(size, rng, 10) + bevel
    image = _tinted(glaze, (0.55, 0.98, 0.92)) + fired[..., None] * np.array([0.03, 0.0, -0.02])
    grout = _tinted(0.74 + 0.01 * rng.standard_normal((size, size)), (1.0, 0.97, 0.92))
    return _over(grout, image, glazed), np.ones((size, size))


def capsule(size: int, rng: np.random.Generator) -> Scene:
    """Draw a blister pack of two-coloured capsules with a printed band, slightly tilted, at any phase."""
    x, y = _turned(size, rng.uniform(-0.2, 0.2))
    wide, high = 1.10, 0.62
    x, y = _centred(x / wide + rng.uniform(0, 1)) * wide, _centred(y / high + rng.uniform(0, 1)) * high
    half, radius = 0.24, 0.22
    distance = np.hypot(x - np.clip(x, -half, half), y) - radius
    cover = _covered(distance, size)
    roundness = np.sqrt(np.clip(1 - (np.clip(distance + radius, 0, radius) / radius) ** 2, 0, 1))
    red, cream = np.array([0.64, 0.30, 0.26]), np.array([0.86, 0.81, 0.70])
    whole = (size, size, 3)
    colour = _over(np.broadcast_to(cream, whole), np.broadcast_to(red, whole), _covered(x - 0.06, size))
    band = 0.7 * _covered(np.abs(x - 0.25) - 0.05, size, 0.05)
    colour = _over(colour, np.broadcast_to(np.array([0.30, 0.36, 0.50]), whole), band)
    gleam = np.exp(-(((y + 0.09) / 0.04) ** 2)) * _covered(np.abs(x) - half, size, 0.12)
    image = colour * (0.45 + 0.55 * roundness)[..., None] + 0.3 * gleam[..., None]
    rim = 0.12 * np.exp(-((distance / 0.05) ** 2))
    bumps = np.sin(8 * np.pi * x / wide) * np.sin(6 * np.pi * y / high)
    foil = _tinted(0.66 - rim + 0.06 * bumps, (1.0, 0.99, 0.96))
    return _over(foil, image, cover), np.ones((size, size))


#: Class names in the order of tables, and the functions that draw them.
SCENES: dict[str, Callable[[int, np.random.Generator], Scene]] = {
    "washer": washer,
    "weave": weave,
    "tile": tile,
    "capsule": capsule,
}


def photographed(image: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Light a scene unevenly and add a sensor's noise; return ``uint8 (S,S,3)``."""
    x, y = _grid(len(image))
    slope = rng.uniform(-0.08, 0.08, 2)
    light = rng.uniform(0.86, 1.06) + slope[0] * x + slope[1] * y
    noise = rng.normal(0, 0.004, image.shape)
    lit: Floats = np.clip(np.rint((image * light[..., None] + noise) * 255), 0, 255)
    return lit.astype(np.uint8)


def _grid(size: int) -> tuple[Floats, Floats]:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def _turned(size: int, angle: float) -> tuple[Floats, Floats]:
    x, y = _grid(size)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _covered(distance: Floats, size: int, softness: float = 0.0) -> Floats:
    """Convert a signed distance (negative inside) to coverage, antialiased over one pixel or over ``softness``."""
    covered: Floats = np.clip(0.5 - distance / max(2 / size, softness), 0, 1)
    return covered


def _centred(t: Floats) -> Floats:
    centred: Floats = t - np.floor(t) - 0.5
    return centred


def _tinted(grey: Floats, tint: tuple[float, float, float]) -> Floats:
    tinted: Floats = grey[..., None] * np.array(tint)
    return tinted


def _over(below: Floats, above: Floats, alpha: Floats) -> Floats:
    mixed: Floats = below + (above - below) * alpha[..., None]
    return mixed


def _clouds(size: int, rng: np.random.Generator, cells: int) -> Floats:
    """Return a smooth random field with about ``cells`` bumps along a side and a standard deviation of about 1."""
    coarse = rng.standard_normal((cells, cells))
    field: Floats = ndimage.zoom(coarse, size / cells, order=3, mode="reflect", grid_mode=True)
    return field[:size, :size]
