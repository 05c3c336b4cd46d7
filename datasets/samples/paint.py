"""Draw and write synthetic images: one texture per class, with a blot in anomalous images."""

from __future__ import annotations

import functools
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Record(NamedTuple):
    """A sample as it was written, which an adapter must find again. Paths are below the root."""

    image: str
    mask: str
    cls: str
    split: str
    label: int
    defect: str
    sample: str = ""
    view: str = ""


@dataclass(frozen=True)
class Spec:
    """The numbers and sizes of the images to write.

    Attributes:
        classes: Classes to write.
        train: Training images of a class (samples in Real-IAD).
        good: Normal test images (samples).
        bad: Anomalous test images (samples).
        size: Side of the images in pixels; some are not square.
        seed: Seed of every pixel.
        pool: Maximum number of different images of a kind; ``0``: no limit.
    """

    classes: tuple[str, ...]
    train: int = 4
    good: int = 2
    bad: int = 3
    size: int = 64
    seed: int = 0
    pool: int = 0


class Painter:
    """Draw and write the images of one dataset."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._encoded = functools.lru_cache(maxsize=4096)(self._encode)

    def image(self, path: Path, cls: str, key: int, *, bad: bool = False, grey: bool = False) -> None:
        """Write the image ``key`` of a class in the format of ``path``'s suffix; a ``bad`` image has a blot."""
        self._write(path, (cls, self._pooled(key), bad, grey, "image", 255))

    def mask(self, path: Path, cls: str, key: int, *, value: int = 255, empty: bool = False) -> None:
        """Write the mask of the image ``key``: ``value`` in the anomalous part, else 0."""
        self._write(path, (cls, self._pooled(key), not empty, False, "mask", value))

    def shape(self, key: int) -> tuple[int, int]:
        """Return ``(height, width)`` of the image ``key``: every third image is wider than high."""
        size = self.spec.size
        return (size, size + size // 4) if self._pooled(key) % 3 == 1 else (size, size)

    def blot(self, cls: str, key: int) -> Mask:
        """Return the anomalous pixels of the image ``key``."""
        height, width = self.shape(key)
        rng = self._rng(cls, self._pooled(key), "blot")
        y, x = np.ogrid[:height, :width]
        radius = max(1.0, rng.uniform(0.1, 0.2) * height)
        centre_y, centre_x = rng.uniform(0.25, 0.75, 2) * (height, width)
        return np.asarray((y - centre_y) ** 2 + 2 * (x - centre_x) ** 2 <= radius**2)

    def pixels(self, cls: str, key: int, *, bad: bool) -> Pixels:
        """Return an image, ``uint8 (H,W,3)``."""
        height, width = self.shape(key)
        look = self._rng(cls, 0, "look")
        rng = self._rng(cls, key, "noise")
        base, stripe = look.uniform(70, 180, 3), look.uniform(15, 45)
        wave, angle = look.uniform(4, 10) / height, look.uniform(0, np.pi)
        y, x = np.mgrid[:height, :width]
        phase = 2 * np.pi * wave * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 2 * np.pi)
        image = base + stripe * np.sin(phase)[..., None] + rng.normal(0, 4, (height, width, 3))
        if bad:
            image[self.blot(cls, key)] = 255 - base + rng.normal(0, 4)
        return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)

    def _pooled(self, key: int) -> int:
        return key % self.spec.pool if self.spec.pool else key

    def _rng(self, cls: str, key: int, what: str) -> np.random.Generator:
        return np.random.default_rng([self.spec.seed, zlib.crc32(f"{cls}/{what}".encode()), key])

    def _write(self, path: Path, what: tuple[str, int, bool, bool, str, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._encoded(*what, path.suffix.lower()))

    def _encode(self, cls: str, key: int, bad: bool, grey: bool, kind: str, value: int, suffix: str) -> bytes:
        if kind == "mask":
            blot = self.blot(cls, key) if bad else np.zeros(self.shape(key), dtype=bool)
            image = Image.fromarray(np.where(blot, np.uint8(value), np.uint8(0)))
        else:
            image = Image.fromarray(self.pixels(cls, key, bad=bad))
            image = image.convert("L") if grey else image
        buffer = io.BytesIO()
        formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
        image.save(buffer, formats[suffix], **({"quality": 90} if suffix == ".jpg" else {}))
        return buffer.getvalue()


def touch(path: Path, content: bytes | str = b"") -> None:
    """Write a small file that isn't a sample, as real datasets contain them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
