"""Compare state dicts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts have the same keys and exactly equal tensors."""
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)
