"""Find images with equal pixels, in whatever format their files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diadbench.datasets.decoding.fingerprint import digest_of

if TYPE_CHECKING:
    from diadbench.datasets.decoding.rows import Rows


def digest_of_pixels(pixels: npt.NDArray[Any]) -> str:
    """Return the digest of an array: its values and its shape."""
    return digest_of(np.ascontiguousarray(pixels).tobytes() + repr(pixels.shape).encode())


def with_copies(digests: Sequence[str | None], images: Rows) -> list[str | None]:
    """Return the digests of images such that copies in other formats have the digest of the first of them.

    Images are copies of each other if their native sizes and all their pixels at the size of the run are equal. A
    line of each image is compared first, so that few images are read as a whole.

    Args:
        digests: Digest of each row's file; ``None`` where it can't be read.
        images: The images of the rows, each stored with its native size.
    """
    rows = np.arange(len(digests), dtype=np.int64)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for row, size in enumerate(images.values(rows)):
        if size is None or digests[row] is None:
            continue
        image = images.arrays[int(images.array_of[row])][int(images.position[row])]
        alike.setdefault((*size, image[:, image.shape[1] // 2].tobytes()), []).append(row)
    found = list(digests)
    for group in alike.values():
        if len({digests[row] for row in group}) < 2:
            continue
        firsts: dict[str, str | None] = {}
        for row in group:
            whole = digest_of_pixels(images.gather(np.array([row], dtype=np.int64)))
            found[row] = firsts.setdefault(whole, digests[row])
    return found
