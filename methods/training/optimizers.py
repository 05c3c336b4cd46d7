"""Which of torch's implementations an optimiser takes: fused where that is possible, else the usual one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def can_fuse(parameters: Sequence[nn.Parameter], *, precision: str = "32-true", clip: float | None = None) -> bool:
    """Whether a fused optimiser may be taken: one kernel for all parameters, without temporaries of their size.

    Lightning refuses to clip gradients under mixed precision with a fused optimiser, which unscales them itself.

    Args:
        parameters: What is optimised.
        precision: Lightning's name of the precision.
        clip: Largest norm of the gradients, or ``None``.
    """
    if clip is not None and precision != "32-true":
        return False
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def can_fuse_on_gpu(
    parameters: Sequence[nn.Parameter], *, precision: str = "32-true", clip: float | None = None
) -> bool:
    """As :func:`can_fuse`, but never on a CPU, for methods whose results there come from the usual implementation."""
    on_gpu = all(parameter.device.type == "cuda" for parameter in parameters)
    return on_gpu and can_fuse(parameters, precision=precision, clip=clip)
