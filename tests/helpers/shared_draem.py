"""DRAEM as it is, but each image has a norm of its own, and each step tells what it was trained on.

DRAEM's batch norms see a process's share alone on a CPU (on GPUs ``SyncBatchNorm`` sees the whole batch, and runs there
only), so that without them the rest of its training can be compared.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from torch import Tensor, nn

from diadbench.methods.base import RunContext
from diadbench.methods.draem.method import Draem, _Module
from diadbench.methods.draem.synthesis import Pairs


class ToldModule(_Module):
    """Writes a line for each image: step, process, and digests of the image, the painted image and the mask."""

    def pairs(self, batch: Tensor | dict[str, Tensor], seed: int) -> Pairs:
        """Paint the batch and write it down."""
        found = super().pairs(batch, seed)
        with open(os.environ["DIADBENCH_TEST_LOG"], "a", encoding="utf-8") as file:
            for one in zip(found.clean, found.corrupted, found.mask, strict=True):
                digests = " ".join(hashlib.sha256(value.numpy().tobytes()).hexdigest()[:12] for value in one)
                file.write(f"{self.global_step} {self.global_rank} {digests}\n")
        return found


class SharedDraem(Draem):
    """DRAEM without batch norms."""

    def build(self, run: RunContext, *, trained_before: bool = False) -> Any:
        """Return DRAEM's networks with their batch norms replaced."""
        module = super().build(run, trained_before=trained_before)
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    own = nn.GroupNorm(1, child.num_features)
                    own.load_state_dict({key: child.state_dict()[key] for key in ("weight", "bias")})
                    setattr(parent, name, own)
        module.__class__ = ToldModule
        return module
