"""The spatial-aware feature fusion (SFF) block of the paper's section "Semantic-Guided Network"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SFF(nn.Module):
    """Add three finer maps, each halved by a 3x3 convolution, to each of three coarser ones.

    ``down<i><j>`` leads from source ``i`` to target ``j`` (1 to 3): convolution without bias, InstanceNorm, SiLU.
    A target becomes ``SiLU(target + down1j + down2j + down3j)``; the SiLU is applied even if the branches are zero.

    Args:
        sources: Channels of the three sources.
        target: Channels of the targets.
    """

    def __init__(self, sources: Sequence[int], target: int) -> None:
        super().__init__()
        for i, channels in enumerate(sources, start=1):
            for j in (1, 2, 3):
                branch = nn.Sequential(
                    nn.Conv2d(channels, target, 3, stride=2, padding=1, bias=False),
                    nn.InstanceNorm2d(target),
                    nn.SiLU(),
                )
                setattr(self, f"down{i}{j}", branch)

    def branch(self, source: int, target: int) -> nn.Sequential:
        """Return ``down<source><target>``."""
        module = getattr(self, f"down{source}{target}")
        assert isinstance(module, nn.Sequential)
        return module

    def reset(self, *, zero: bool) -> None:
        """Set all convolutions to zero (as published) or to torch's default initialisation."""
        for i in (1, 2, 3):
            for j in (1, 2, 3):
                convolution = self.branch(i, j)[0]
                assert isinstance(convolution, nn.Conv2d)
                if zero:
                    nn.init.zeros_(convolution.weight)
                else:
                    convolution.reset_parameters()

    def forward(self, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
        """Fuse three maps ``(B,C,2h,2w)`` into three maps ``(B,C',h,w)``."""
        fused = []
        for j, target in enumerate(targets, start=1):
            total = target
            for i, source in enumerate(sources, start=1):
                total = total + self.branch(i, j)(source)
            fused.append(F.silu(total))
        return fused

    def is_silent(self) -> bool:
        """Whether all weights are zero, so that the branches have no effect."""
        return not any(bool(torch.any(weight != 0)) for weight in self.parameters())
