"""Blocked nearest neighbours against torch.cdist."""

from __future__ import annotations

import pytest
import torch

from diadbench.methods.features import neighbours
from diadbench.methods.features.neighbours import Bank


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("block", [300, 16_777_216])
def test_equal_to_cdist(k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    torch.manual_seed(0)
    bank, queries = torch.randn(40, 12), torch.randn(33, 12)
    expected, where = torch.cdist(queries.double(), bank.double()).square().sort(1)
    squared, positions = Bank(bank).nearest(queries, k)
    k = min(k, 40)
    assert torch.equal(positions, where[:, :k])
    torch.testing.assert_close(squared, expected[:, :k].float())


def test_no_digits_are_lost_far_from_the_origin() -> None:
    torch.manual_seed(0)
    bank = torch.randn(50, 8) + 1000
    squared, _ = Bank(bank).nearest(bank[:5])
    assert torch.equal(squared, torch.zeros(5, 1))
