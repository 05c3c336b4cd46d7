"""The single size at which all methods of a grid are evaluated, and the resizing of their maps to it.

A method may run at a size of its own. Its maps are then resized to the evaluation size, and the masks are made from
their native files at that size, so that every row of a table counts the same pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError

if TYPE_CHECKING:
    from diadbench.benchmark.metrics.protocols import Protocol

Size = tuple[int, int]


def evaluation_size(cell: dict[str, Any]) -> Size:
    """Return ``(H, W)`` at which a cell is evaluated. Cells of earlier versions were evaluated at their image size."""
    height, width = cell.get("evaluation_size") or cell["image_size"]
    return int(height), int(width)


def at_evaluation_size(maps: Tensor, images: Tensor, size: Size) -> Tensor:
    """Bring a batch of anomaly maps to the evaluation size.

    Maps are resized bilinearly (``align_corners=False``, no antialiasing), as in Dinomaly's evaluation code. A
    method's own smoothing is applied before, a protocol's pooling after it. The result of an image depends neither on
    its batch nor on the number of threads.

    Args:
        maps: ``float32 (B,h,w)``, the size of the images; they are resized on their device.
        images: ``(B,C,h,w)``: what the method saw.
        size: ``(H, W)`` wanted.

    Returns:
        ``float32 (B,H,W)``; the maps themselves where they have that size.

    Raises:
        UserError: The number or size of the maps differs from that of the images, so pixels can't be matched.
    """
    expected = (len(images), *images.shape[-2:])
    if tuple(maps.shape) != expected:
        raise UserError(f"anomaly maps: expected {expected}, one of the size of each image, found {tuple(maps.shape)}")
    if expected[1:] == size:
        return maps
    return torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def size_notes(cell: dict[str, Any], protocol: Protocol) -> list[str]:
    """Return notes on resized maps, and on a protocol whose source evaluates at another size."""
    run, size, notes = tuple(cell["image_size"]), evaluation_size(cell), []
    if run != size and not (cell.get("method_info") or {}).get("by_sample"):  # such a method tells of its own sizes
        notes.append(f"runs at {by(run)}; its maps are resized to {by(size)}")
    side = protocol.source_size
    if side is not None and size != (side, side):
        done, does = f"evaluated at {by(size)}", "evaluates"
        if protocol.compare_size is not None:
            compared = by((protocol.compare_size, protocol.compare_size))
            done, does = f"masks made at {by(size)}, compared at {compared}", "makes them"
        notes.append(f"{done}; the source of protocol {protocol.name} {does} at {by((side, side))}")
    return notes


def by(size: tuple[int, ...]) -> str:
    """Return a size as text: ``HxW``."""
    return "x".join(map(str, size))
