"""The Adafactor for GPUs takes torch's steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diadbench.methods.training.optimizers import Adafactor, adafactor_step

SHAPES = [(5,), (1,), (4, 6), (3, 2, 3, 3), (7, 1)]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("lr", [1e-3, 0.5])
def test_steps_are_torchs(lr: float, decay: float) -> None:
    expected, found = parameters(), parameters()
    optimizer = torch.optim.Adafactor(expected, lr=lr, weight_decay=decay)
    states: list[dict[str, torch.Tensor]] = [{} for _ in found]
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        for one, other in zip(expected, found, strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=generator) * 10.0 ** (step - 3)
        optimizer.step()  # type: ignore[no-untyped-call]
        for parameter, state in zip(found, states, strict=True):
            assert parameter.grad is not None
            with torch.no_grad():
                adafactor_step(parameter, parameter.grad, state, optimizer.param_groups[0])
    for one, other, state in zip(expected, found, states, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
        assert state.keys() == optimizer.state[one].keys()
        for key, value in state.items():
            torch.testing.assert_close(value, optimizer.state[one][key], rtol=1e-5, atol=1e-12)


def test_on_a_cpu_the_step_is_torchs_own() -> None:
    results = []
    for kind in (torch.optim.Adafactor, Adafactor):
        own = parameters()
        optimizer = kind(own, lr=0.1)
        for _ in range(2):
            for parameter in own:
                parameter.grad = parameter.detach().clone()
            optimizer.step()  # type: ignore[no-untyped-call]
        results.append(own)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
