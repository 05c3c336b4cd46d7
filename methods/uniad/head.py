"""UniAD's transformer head, which reconstructs backbone features with each token's neighbourhood masked.

Modules and parameters have the names of the authors' code, so their checkpoints load unchanged.
Tokens are ``float32 (h*w, B, C)`` in row-major order, as in the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diadbench.common.errors import UserError
from diadbench.methods.training import draws

Activation = Literal["relu", "gelu"]
PositionKind = Literal["learned", "sine"]


@dataclass(frozen=True)
class HeadConfig:
    """Shape of the head; field names are those of the authors' YAML. Defaults are MVTec-AD at 224 pixels.

    Attributes:
        inplanes: Channels of the aligned features.
        instride: Input pixels per token, by which the score map is enlarged.
        feature_size: ``(h, w)`` of the aligned features.
        hidden_dim: Width of the transformer.
        nhead: Attention heads.
        num_encoder_layers: Encoder layers.
        num_decoder_layers: Decoder layers.
        dim_feedforward: Hidden width of the feed-forward parts.
        dropout: Dropout in attention, feed-forward and residuals.
        activation: Activation of the feed-forward parts.
        normalize_before: LayerNorm before each part (and after the encoder) instead of after it.
        pos_embed_type: Learned rows and columns, or sines.
        neighbor_size: ``(rows, columns)`` of the neighbourhood a token may not attend to, itself included. Even sizes
            act like the next odd one, as in the authors' code. ``None``: no mask.
        mask: Whether the mask is used in the encoder, in the decoder's first and in its second attention.
        jitter_scale: Strength of the feature jitter in training; 0 turns it off.
        jitter_prob: Share of batches that are jittered.
    """

    inplanes: int = 272
    instride: int = 16
    feature_size: tuple[int, int] = (14, 14)
    hidden_dim: int = 256
    nhead: int = 8
    num_encoder_layers: int = 4
    num_decoder_layers: int = 4
    dim_feedforward: int = 1024
    dropout: float = 0.1
    activation: Activation = "relu"
    normalize_before: bool = False
    pos_embed_type: PositionKind = "learned"
    neighbor_size: tuple[int, int] | None = (7, 7)
    mask: tuple[bool, bool, bool] = (True, True, True)
    jitter_scale: float = 20.0
    jitter_prob: float = 1.0


@dataclass(frozen=True)
class HeadOutput:
    """Outputs of the head for features ``(B,C,h,w)``.

    Attributes:
        feature_rec: ``float32 (B,C,h,w)``, the reconstruction.
        encoder_out: ``float32 (h*w,B,hidden)``, the encoder's output.
        decoder_out: ``float32 (h*w,B,hidden)``, after the last norm.
    """

    feature_rec: Tensor
    encoder_out: Tensor
    decoder_out: Tensor


def neighbour_mask(feature_size: tuple[int, int], neighbor_size: tuple[int, int]) -> Tensor:
    """Return the additive attention mask ``float32 (h*w,h*w)``: -inf where a token must not attend, else 0.

    Token (i,j) must not attend to (k,l) with ``|i-k| <= rows // 2`` and ``|j-l| <= columns // 2``.

    Raises:
        UserError: A token could attend to no other token.
    """
    h, w = feature_size
    reach_h, reach_w = neighbor_size[0] // 2, neighbor_size[1] // 2
    if h // 2 <= reach_h and w // 2 <= reach_w and (h - 1) - h // 2 <= reach_h and (w - 1) - w // 2 <= reach_w:
        raise UserError(
            f"uniad: a neighbourhood of {neighbor_size[0]}x{neighbor_size[1]} hides all of the {h}x{w} tokens from "
            "the middle one; take a smaller neighbor_size or larger images"
        )
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    row, column = row.reshape(-1), column.reshape(-1)
    near = ((row[:, None] - row).abs() <= reach_h) & ((column[:, None] - column).abs() <= reach_w)
    return torch.zeros(near.shape).masked_fill(near, -math.inf)


def jitter(tokens: Tensor, noise: Tensor, scale: float) -> Tensor:
    """Add Gaussian ``noise`` (same shape, unit variance) in proportion to each token's norm.

    ``tokens + noise * |token|_2 / C * scale`` for tokens ``(..., C)`` (paper, section 3.4).
    """
    norm: Tensor = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True)
    return tokens + noise * (norm / tokens.shape[-1] * scale)


class LearnedPosition(nn.Module):
    """Learned embeddings of columns and rows; a token gets ``[column | row]``."""

    def __init__(self, feature_size: tuple[int, int], half: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(feature_size[0], half)
        self.col_embed = nn.Embedding(feature_size[1], half)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.col_embed.weight)

    def forward(self) -> Tensor:
        """Return ``float32 (h*w, 2*half)``."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        h, w = len(rows), len(columns)
        return torch.cat([columns[None].expand(h, -1, -1), rows[:, None].expand(-1, w, -1)], 2).flatten(0, 1)


class SinePosition(nn.Module):
    """Normalised sines of rows and columns as in DETR; a token gets ``[row | column]``."""

    _table: Tensor

    def __init__(self, feature_size: tuple[int, int], half: int, temperature: float = 10000.0) -> None:
        super().__init__()
        h, w = feature_size
        period = temperature ** (2 * (torch.arange(half) // 2) / half)
        rows, columns = (self._waves(size, period) for size in (h, w))
        table = torch.cat([rows[:, None].expand(-1, w, -1), columns[None].expand(h, -1, -1)], 2).flatten(0, 1)
        self.register_buffer("_table", table, persistent=False)

    @staticmethod
    def _waves(size: int, period: Tensor) -> Tensor:
        place = torch.arange(1, size + 1, dtype=torch.float32)
        angle = (place / (size + 1e-6) * 2 * math.pi)[:, None] / period
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 2).flatten(1)

    def forward(self) -> Tensor:
        """Return ``float32 (h*w, 2*half)``."""
        return self._table


class _FeedForward(nn.Module):
    """Declare ``linear1``, ``dropout`` and ``linear2`` in the layer itself, where the authors' keys have them."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        inner = config.dim_feedforward
        self.linear1 = nn.Linear(config.hidden_dim, inner)
        self.dropout = nn.Dropout(config.dropout)
        self.linear2 = nn.Linear(inner, config.hidden_dim)
        self.activation = getattr(functional, config.activation)
        self.before = config.normalize_before

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply two linear layers with the activation between them."""
        inner: Tensor = self.dropout(self.activation(self.linear1(x)))
        out: Tensor = self.linear2(inner)
        return out

    def attend(self, layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Apply multi-head attention without returning its weights."""
        out: Tensor = layer(query, key, value, attn_mask=mask, need_weights=False)[0]
        return out


class EncoderLayer(_FeedForward):
    """Self-attention with the neighbourhood masked, then feed-forward."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        self.self_attn = nn.MultiheadAttention(config.hidden_dim, config.nhead, dropout=config.dropout)
        self.norm1, self.norm2 = nn.LayerNorm(config.hidden_dim), nn.LayerNorm(config.hidden_dim)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, src: Tensor, pos: Tensor, mask: Tensor | None) -> Tensor:
        """Map tokens ``(h*w,B,C)`` to tokens; ``pos`` is ``(h*w,1,C)``."""
        x = self.norm1(src) if self.before else src
        src = src + self.dropout1(self.attend(self.self_attn, x + pos, x + pos, x, mask))
        src = src if self.before else self.norm1(src)
        x = self.norm2(src) if self.before else src
        out: Tensor = src + self.dropout2(self.feed_forward(x))
        return out if self.before else self.norm2(out)


class DecoderLayer(_FeedForward):
    """Attention from its own learned queries to the encoder's output, then to the output of the previous layer."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        width, heads, dropout = config.hidden_dim, config.nhead, config.dropout
        self.learned_embed = nn.Embedding(config.feature_size[0] * config.feature_size[1], width)
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout1, self.dropout2, self.dropout3 = nn.Dropout(dropout), nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, out: Tensor, memory: Tensor, pos: Tensor, masks: tuple[Tensor | None, Tensor | None]) -> Tensor:
        """Map the last layer's output ``(h*w,B,C)`` to this layer's; ``masks`` are those of the two attentions."""
        tgt = self.learned_embed.weight[:, None].expand(-1, memory.shape[1], -1)
        x = self.norm1(tgt) if self.before else tgt
        tgt = tgt + self.dropout1(self.attend(self.self_attn, x + pos, memory + pos, memory, masks[0]))
        tgt, x = self._between(self.norm1, self.norm2, tgt)
        tgt = tgt + self.dropout2(self.attend(self.multihead_attn, x + pos, out + pos, out, masks[1]))
        tgt, x = self._between(self.norm2, self.norm3, tgt)
        tgt = tgt + self.dropout3(self.feed_forward(x))
        return tgt if self.before else self.norm3(tgt)  # type: ignore[no-any-return]

    def _between(self, after: nn.Module, before: nn.Module, tgt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual stream and the next part's input: pre-norm keeps the stream, post-norm normalises it."""
        if self.before:
            return tgt, before(tgt)
        tgt = after(tgt)
        return tgt, tgt


class _Stack(nn.Module):
    """Layers and an optional final norm."""

    def __init__(self, layers: list[nn.Module], norm: nn.Module | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm


class _Transformer(nn.Module):
    """Encoder and decoder; their layers are attributes of this module to match the authors' keys."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.encoder = _Stack(
            [EncoderLayer(config) for _ in range(config.num_encoder_layers)],
            nn.LayerNorm(config.hidden_dim) if config.normalize_before else None,
        )
        self.decoder = _Stack(
            [DecoderLayer(config) for _ in range(config.num_decoder_layers)], nn.LayerNorm(config.hidden_dim)
        )


class UniADHead(nn.Module):
    """The trained part of UniAD: input projection, masked encoder, query decoder, output projection.

    Args:
        config: Shape of the head.
    """

    mask: Tensor | None

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HeadConfig()
        half = config.hidden_dim // 2
        kind = {"learned": LearnedPosition, "sine": SinePosition}[config.pos_embed_type]
        self.pos_embed = kind(config.feature_size, half)
        self.transformer = _Transformer(config)
        self.input_proj = nn.Linear(config.inplanes, config.hidden_dim)
        self.output_proj = nn.Linear(config.hidden_dim, config.inplanes)
        mask = neighbour_mask(config.feature_size, config.neighbor_size) if config.neighbor_size else None
        self.register_buffer("mask", mask, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> HeadOutput:
        """Reconstruct aligned features ``float32 (B,C,h,w)``; in training mode their tokens are jittered first."""
        _, _, h, w = features.shape
        tokens = features.flatten(2).permute(2, 0, 1)
        if self.training and self.config.jitter_scale:
            tokens = self._jittered(tokens)
        x, pos = self.input_proj(tokens), self.pos_embed()[:, None]
        masks = [self.mask if on else None for on in self.config.mask]
        encoder, decoder = self.transformer.encoder, self.transformer.decoder
        for layer in encoder.layers:
            x = layer(x, pos, masks[0])
        memory = encoder.norm(x) if encoder.norm is not None else x
        out = memory
        for layer in decoder.layers:
            out = layer(out, memory, pos, (masks[1], masks[2]))
        assert decoder.norm is not None
        out = decoder.norm(out)
        rec = self.output_proj(out).permute(1, 2, 0).unflatten(2, (h, w))
        return HeadOutput(rec, memory, out)

    def _jittered(self, tokens: Tensor) -> Tensor:
        """Jitter the tokens; one draw decides for the whole batch, as in the authors' code."""
        if self.config.jitter_prob < 1 and draws.share() > self.config.jitter_prob:
            return tokens
        # Contiguous, because noise is drawn in the order of its memory.
        noise = draws.normal(torch.empty(tokens.shape, device=tokens.device, dtype=tokens.dtype), dim=1)
        return jitter(tokens, noise, self.config.jitter_scale)
