"""The training step's attention and dropout on a CPU against torch's own."""

from __future__ import annotations

import torch
from torch import nn

from diadbench.methods.uniad import HeadConfig, UniADHead
from diadbench.methods.uniad.attention import Dropout, attend, dropped, kept_share


def test_attention_in_training_is_torchs_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 4)
    nn.init.normal_(layer.in_proj_bias)
    query, key, value = torch.randn(5, 2, 16), torch.randn(7, 2, 16), torch.randn(7, 2, 16)
    mask = torch.zeros(5, 7).masked_fill(torch.rand(5, 7) < 0.4, -torch.inf)
    for hidden in (mask, None):
        found = []
        for run in (attend, lambda m, q, k, v, h: m(q, k, v, attn_mask=h, need_weights=False)[0]):
            layer.zero_grad()
            out = run(layer, query, key, value, hidden)
            out.square().sum().backward()
            found.append([out, *(p.grad.clone() for p in layer.parameters() if p.grad is not None)])
        for ours, torchs in zip(*found, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)


def test_head_without_dropout_and_jitter_is_the_same_in_training_and_inference() -> None:
    torch.manual_seed(0)
    config = HeadConfig(inplanes=12, feature_size=(6, 6), hidden_dim=16, nhead=2, neighbor_size=(3, 3), dropout=0.0)
    head = UniADHead(HeadConfig(**{**vars(config), "jitter_scale": 0.0}))
    x = torch.randn(2, 12, 6, 6)
    torch.testing.assert_close(head.train()(x).feature_rec, head.eval()(x).feature_rec, rtol=0, atol=1e-5)


def test_attention_drops_weights_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.3)
    tokens = torch.randn(4, 1, 8)
    with torch.no_grad():
        many = torch.stack([attend(layer, tokens, tokens, tokens, None) for _ in range(3000)])
        expected = attend(layer.eval(), tokens, tokens, tokens, None)
    assert many.std(0).min() > 0
    torch.testing.assert_close(many.mean(0), expected, rtol=0, atol=0.03)


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    layer, ones = Dropout(0.1), torch.ones(1001, 999, requires_grad=True)
    out = layer(ones)
    share = (out == 0).float().mean().item()
    assert abs(share - 0.1) < 0.001
    assert abs(out.mean().item() - 1) < 0.001
    out.sum().backward()
    assert torch.equal(ones.grad, out)
    assert layer.eval()(ones) is ones
    assert Dropout(0.0)(ones).equal(ones)


def test_every_one_of_four_neighbours_in_a_word_is_dropped_alike() -> None:
    torch.manual_seed(0)
    share = dropped(torch.Size((100_000, 4)), 0.25).float().mean(0)
    torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=0, atol=0.01)
    assert kept_share(0.25) == 0.75
