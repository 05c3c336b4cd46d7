"""Bilinear doubling with a deterministic and fast gradient on a GPU."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Doubled(nn.Module):
    """Double the size of ``(B,C,H,W)`` bilinearly with aligned corners.

    On a CPU this is torch's own function. On a GPU torch's gradient adds with atomics; in deterministic mode torch
    splits it into gathers and index additions (four times the kernels of DRAEM's step). Here the gradient is two
    products with the matrices of the interpolation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B,C,H,W)`` to ``(B,C,2H,2W)``."""
        if x.device.type != "cuda":
            return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        doubled: Tensor = _Double.apply(x)
        return doubled


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        ctx.size = (height, width)
        return torch.ops.aten.upsample_bilinear2d(x, [2 * height, 2 * width], True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return doubling_gradient(gradient, ctx.size)


def doubling_gradient(gradient: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the gradient of the doubling's input ``(B,C,H,W)`` for that of its output ``(B,C,2H,2W)``."""
    rows, columns = (doubling(side, torch.float32, gradient.device) for side in size)
    with torch.autocast(gradient.device.type, enabled=False):
        return (rows.T @ (gradient.float() @ columns)).to(gradient.dtype)


@functools.lru_cache(maxsize=32)
def doubling(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the interpolation of a line of ``side`` pixels as a matrix ``(2 side, side)``."""
    with torch.inference_mode(False), torch.no_grad():
        line = torch.eye(side, dtype=torch.float64)[None]
        matrix = functional.interpolate(line, scale_factor=2, mode="linear", align_corners=True)[0].T
        return matrix.to(dtype).contiguous().to(device)
