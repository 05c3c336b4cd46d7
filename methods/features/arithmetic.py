"""The settings that decide the last digits of a network's results, as part of every key of cached features."""

from __future__ import annotations

from typing import Any

import torch


def arithmetic(device: torch.device) -> dict[str, Any]:
    """Return the kind of device and how torch multiplies float32 numbers on it, as JSON values.

    TF32 and bfloat16 products of float32 numbers differ from full ones in the third digit, so features that were
    computed with them must have another key.
    """
    facts: dict[str, Any] = {"device": device.type, "float32_products": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        facts["tf32"] = [_precision(torch.backends.cuda.matmul), _precision(torch.backends.cudnn, "conv")]
    elif device.type == "cpu":
        facts["mkldnn"] = [_precision(torch.backends.mkldnn, part) for part in ("matmul", "conv")]
    return facts


def _precision(backend: Any, part: str | None = None) -> str:
    """Return a backend's precision of float32 products: torch's newer name of it, else whether TF32 is allowed."""
    chosen = getattr(backend, part, backend) if part else backend
    found = getattr(chosen, "fp32_precision", None)
    return str(found if found is not None else getattr(backend, "allow_tf32", "none"))
