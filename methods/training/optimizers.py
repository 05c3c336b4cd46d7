"""Choose torch's implementation of an optimiser: fused if possible, else the default."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def can_fuse(parameters: Sequence[nn.Parameter], *, precision: str = "32-true", clip: float | None = None) -> bool:
    """Whether a fused optimiser may be used: one kernel for all parameters, without temporaries of their size.

    Lightning refuses to clip gradients under mixed precision with a fused optimiser, which unscales them itself.

    Args:
        parameters: The parameters to optimise.
        precision: Lightning's name of the precision.
        clip: Maximum norm of the gradients, or ``None``.
    """
    if clip is not None and precision != "32-true":
        return False
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def can_fuse_on_gpu(
    parameters: Sequence[nn.Parameter], *, precision: str = "32-true", clip: float | None = None
) -> bool:
    """The same as :func:`can_fuse`, but false on a CPU, for methods whose results there use the default version."""
    on_gpu = all(parameter.device.type == "cuda" for parameter in parameters)
    return on_gpu and can_fuse(parameters, precision=precision, clip=clip)
