"""Choose torch's implementation of an optimiser (fused if possible, else the default), and an Adafactor for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


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


class Adafactor(torch.optim.Adafactor):
    """torch's Adafactor, whose step on a GPU waits for nothing.

    torch reads two norms of every tensor on the host, which then waits for the GPU about 970 times in a step of DiAD.
    Here they stay on the GPU. The state and its keys are torch's, and on a CPU the step is torch's own. A step starts
    some 15 kernels for each tensor.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if all(parameter.device.type == "cpu" for parameter in parameters):
            torchs: Any = super().step
            return torchs(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    adafactor_step(parameter, parameter.grad, self.state[parameter], group)
        return loss


def adafactor_step(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    """Update one tensor as :class:`torch.optim.Adafactor` does, without reading a value of its device.

    Args:
        parameter: The tensor.
        gradient: Its gradient.
        state: Its state; it is filled at the first step.
        group: The options of torch's optimiser.
    """
    if not state:
        state.update(_adafactor_state(gradient))
    state["step"] += 1
    count, lr = float(state["step"]), float(group["lr"])  # on the CPU
    small, least = group["eps"]
    small = torch.finfo(parameter.dtype).eps if small is None else small
    gradient = -gradient if group["maximize"] else gradient
    alpha = (parameter.norm(2) / parameter.numel() ** 0.5).clamp_min(least) * min(lr, count**-0.5)
    if group["weight_decay"]:
        parameter.mul_(1 - lr * group["weight_decay"])
    update = _estimate(gradient, state, count ** group["beta2_decay"], small)
    update.clamp_(min=small * small).rsqrt_().mul_(gradient)
    size = (update.norm(2) / (update.numel() ** 0.5 * group["d"])).clamp_min(1.0)
    parameter.sub_(update.mul_(alpha / size))


def _adafactor_state(gradient: Tensor) -> dict[str, Tensor]:
    """Return the state before the first step; the count of steps is on the CPU."""
    step = torch.tensor(0.0)
    if gradient.dim() < 2:
        return {"step": step, "variance": torch.zeros_like(gradient)}
    rows, columns = list(gradient.shape), list(gradient.shape)
    rows[-1] = columns[-2] = 1
    return {"step": step, "row_var": gradient.new_zeros(rows), "col_var": gradient.new_zeros(columns)}


def _estimate(gradient: Tensor, state: dict[str, Tensor], weight: float, small: float) -> Tensor:
    """Update the variances with a weight for the new gradient; return the estimate of the whole tensor's."""
    if gradient.dim() < 2:
        return state["variance"].lerp_(gradient * gradient, weight).clone()
    for key, axis in (("row_var", -1), ("col_var", -2)):
        mean = torch.linalg.vector_norm(gradient, dim=axis, keepdim=True).square_().div_(gradient.size(axis))
        state[key].lerp_(mean, weight)
    mean = state["row_var"].mean(dim=-2, keepdim=True).clamp_(min=small)
    return (state["row_var"] @ state["col_var"]).div_(mean)
