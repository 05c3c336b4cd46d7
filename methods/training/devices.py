"""A run's device as arguments of Lightning."""

from __future__ import annotations

import torch


def one_device(device: torch.device) -> int | list[int]:
    """Return ``Trainer(devices=...)`` for a training on this device alone; a plain number would start at ``cuda:0``."""
    return [device.index or 0] if device.type == "cuda" else 1


def has_bf16() -> bool:
    """Whether the GPU has native bfloat16 arithmetic; older ones emulate it, which is slower than float32."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
