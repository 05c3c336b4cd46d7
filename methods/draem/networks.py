"""DRAEM's two networks. Modules have the authors' names, so that weights trained with their code fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diadbench.methods.draem.upsampling import Doubled

#: Factors on the base width for blocks 1 to 6 of the encoders.
_WIDTHS = (1, 2, 4, 8, 8, 8)

#: Image sides must be a multiple of this, because the segmentation network halves five times.
MULTIPLE = 32


class Norm(nn.BatchNorm2d):
    """Batch norm that doesn't count its batches on a GPU: the count is unused, and each would cost a kernel."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B,C,H,W)``."""
        if input.device.type != "cuda" or not self.training:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum or 0.0, self.eps
        )


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), Norm(outputs), nn.ReLU(inplace=True)]


def _block(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_conv(inputs, middle), *_conv(middle, outputs))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(Doubled(), *_conv(inputs, outputs))


class _Encoder(nn.Module):
    """Blocks of two convolutions, with a halving between blocks."""

    def __init__(self, inputs: int, width: int, levels: int) -> None:
        super().__init__()
        for level, factor in enumerate(_WIDTHS[:levels], 1):
            outputs = width * factor
            self.add_module(f"block{level}", _block(inputs, outputs, outputs))
            inputs = outputs
        self.levels = levels
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the output of every block, from fine to coarse."""
        out: list[Tensor] = []
        for level in range(1, self.levels + 1):
            x = self.get_submodule(f"block{level}")(self.pool(x) if level > 1 else x)
            out.append(x)
        return out


class _PlainDecoder(nn.Module):
    """Four doublings back to the image size, without skip connections."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        for level, (inside, out) in enumerate(((8, 4), (4, 2), (2, 1), (1, 1)), 1):
            self.add_module(f"up{level}", _up(width * inside, width * inside))
            self.add_module(f"db{level}", _block(width * inside, width * inside, width * out))
        self.fin_out = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B,8*width,H/16,W/16)`` to ``(B,outputs,H,W)``."""
        for level in range(1, 5):
            x = self.get_submodule(f"db{level}")(self.get_submodule(f"up{level}")(x))
        out: Tensor = self.fin_out(x)
        return out


class _SkipDecoder(nn.Module):
    """Five doublings; each output is concatenated with the encoder's map of its size (U-Net)."""

    _STEPS = (("_b", 8, 8, 8), ("1", 8, 4, 8), ("2", 4, 2, 4), ("3", 2, 1, 2), ("4", 1, 1, 1))

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        for name, inputs, out, skip in self._STEPS:
            self.add_module(f"up{name}", _up(width * inputs, width * out))
            self.add_module(f"db{name}", _block(width * (out + skip), width * out, width * out))
        self.fin_out = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map the encoder's six outputs to ``(B,outputs,H,W)``."""
        x = maps[-1]
        for (name, *_), skip in zip(self._STEPS, reversed(maps[:-1]), strict=True):
            x = self.get_submodule(f"db{name}")(torch.cat([self.get_submodule(f"up{name}")(x), skip], 1))
        out: Tensor = self.fin_out(x)
        return out


class Reconstructor(nn.Module):
    """Auto-encoder without skips that removes anomalies: ``(B,3,H,W)`` to ``(B,3,H,W)``, H and W multiples of 16."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.encoder = _Encoder(3, width, 5)
        self.decoder = _PlainDecoder(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images in [0,1]; the output is not clamped."""
        out: Tensor = self.decoder(self.encoder(images)[-1])
        return out


class Segmenter(nn.Module):
    """U-Net that compares reconstruction and image: ``(B,6,H,W)`` to logits ``(B,2,H,W)``, H and W multiples of 32."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder_segment = _Encoder(6, width, 6)
        self.decoder_segment = _SkipDecoder(width, 2)

    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        """Return logits of normal (channel 0) and anomalous (channel 1)."""
        out: Tensor = self.decoder_segment(self.encoder_segment(torch.cat([reconstruction, images], 1)))
        return out


def initialise(network: nn.Module) -> None:
    """Initialise as in the authors' code: convolutions N(0, 0.02), batch norms N(1, 0.02), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
