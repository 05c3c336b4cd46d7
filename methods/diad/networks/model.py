"""DiAD's networks from diffusers' parts: autoencoder, UNet, semantic-guided (SG) network with SFF.

The stages, in the order of a reconstruction: :meth:`DiADModel.encode`, :meth:`DiADModel.sample_latent`,
:meth:`DiADModel.add_noise`, :meth:`DiADModel.encode_hint`, :meth:`DiADModel.control`, :meth:`DiADModel.noise_of`
(all three in :meth:`DiADModel.eps`), :func:`diadbench.methods.diad.diffusion.denoise`, :meth:`DiADModel.decode`.
Images are normalised with ImageNet's mean and standard deviation, as the authors' are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diadbench.methods.diad.config import ModelConfig
from diadbench.methods.diad.diffusion import make_scheduler
from diadbench.methods.diad.networks.sff import SFF

LOGVAR_RANGE = (-30.0, 20.0)
TOKENS = 77
#: Parts that the authors' code trains in stage 2.
TRAINED = ("sg.", "unet.up_blocks.", "unet.conv_norm_out.", "unet.conv_out.")
# diffusers' classes have no type hints.
_CONTROL: Any = ControlNetModel
_UNET: Any = UNet2DConditionModel
_VAE: Any = AutoencoderKL


class SemanticGuidedNetwork(nn.Module):
    """The SG network: a ControlNet whose hint is the image itself, with SFF on its outputs.

    Args:
        config: Sizes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.control: Any = _CONTROL(
            in_channels=config.latent,
            block_out_channels=config.channels,
            down_block_types=_down_blocks(config),
            cross_attention_dim=config.context,
            attention_head_dim=config.heads,
            norm_num_groups=config.groups,
            conditioning_embedding_out_channels=config.hint_channels,
        )
        widths = _output_widths(config)
        self.sff = SFF(widths[-6:-3], widths[-1])

    @property
    def count(self) -> int:
        """Return the number of outputs, including the middle block's."""
        return len(self.control.controlnet_down_blocks) + 1

    def encode_hint(self, images: Tensor) -> Tensor:
        """Return the hint's features ``(B,C,h,w)``, which depend neither on the step nor on the latent."""
        return cast(Tensor, self.control.controlnet_cond_embedding(images))

    def features(self, x: Tensor, t: Tensor, text: Tensor, hint: Tensor) -> list[Tensor]:
        """Return all maps of the encoder and of the middle block, before the zero convolutions."""
        control = self.control
        time = _time(control, t, x)
        h = control.conv_in(x) + hint
        maps, h = _down(control.down_blocks, h, time, text)
        return [*maps, control.mid_block(h, time, encoder_hidden_states=text)]

    def outputs(self, features: Sequence[Tensor], *, first: int = 0) -> list[Tensor]:
        """Return zero-convolution outputs from index ``first`` on, before SFF."""
        convolutions = [*self.control.controlnet_down_blocks, self.control.controlnet_mid_block]
        return [conv(h) for conv, h in zip(convolutions[first:], features[first:], strict=True)]

    def fuse(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Apply SFF: the maps of the level above are added to the coarsest ones. The middle map is unchanged."""
        return [*outputs[:-4], *self.sff(outputs[-7:-4], outputs[-4:-1]), outputs[-1]]

    def forward(self, x: Tensor, t: Tensor, text: Tensor, hint: Tensor, *, full: bool = False) -> list[Tensor]:
        """Return the control maps.

        Args:
            x: Noisy latents ``(B,4,h,w)``.
            t: Steps ``int64 (B,)``.
            text: Text embedding ``(B,77,context)``.
            hint: Result of :meth:`encode_hint`.
            full: Return all maps (13 in the full size); otherwise the four that the UNet uses: three of the coarsest
                level and the middle one, in this order.
        """
        features = self.features(x, t, text, hint)
        fused = self.fuse(self.outputs(features, first=0 if full else self.count - 7))
        return fused if full else fused[-4:]


class DiADModel(nn.Module):
    """All networks of DiAD and the text embedding.

    Attributes:
        config: Sizes.
        vae: Autoencoder.
        unet: Denoising UNet; its encoder and middle block are frozen.
        sg: Semantic-guided network.
        text: Embedding of the empty prompt, ``(1,77,context)``; zero until it is set.
        scheduler: diffusers' DDIM scheduler with the authors' settings.
        train_encoder: Also train the UNet's encoder and middle block. The authors keep Stable Diffusion's weights
            unchanged, but a model that starts from random weights has to train them.
    """

    text: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.train_encoder = False
        self.vae: Any = _VAE(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * len(config.vae_channels),
            up_block_types=("UpDecoderBlock2D",) * len(config.vae_channels),
            block_out_channels=config.vae_channels,
            layers_per_block=2,
            latent_channels=config.latent,
            norm_num_groups=config.vae_groups,
            scaling_factor=config.scale,
        )
        self.unet: Any = _UNET(
            in_channels=config.latent,
            out_channels=config.latent,
            block_out_channels=config.channels,
            down_block_types=_down_blocks(config),
            up_block_types=tuple(
                "CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(config.attention)
            ),
            cross_attention_dim=config.context,
            attention_head_dim=config.heads,
            norm_num_groups=config.groups,
        )
        self.sg = SemanticGuidedNetwork(config)
        self.register_buffer("text", torch.zeros(1, TOKENS, config.context))
        with torch.device("cpu"):  # The schedule is not a weight and also exists on the meta device.
            self.scheduler: Any = make_scheduler()

    # -- autoencoder ----------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and log-variance ``(B,4,h,w)``, the latter within [-30, 20]."""
        mean, logvar = self.vae.quant_conv(self.vae.encoder(images)).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def sample_latent(self, mean: Tensor, logvar: Tensor, noise: Tensor | None) -> Tensor:
        """Return ``z``: a scaled sample of the posterior, or its scaled mean where ``noise`` is ``None``."""
        return self.config.scale * (mean if noise is None else mean + (0.5 * logvar).exp() * noise)

    def decode(self, z: Tensor) -> Tensor:
        """Return images ``(B,3,H,W)`` of scaled latents, normalised and not clamped."""
        return cast(Tensor, self.vae.decoder(self.vae.post_quant_conv(z / self.config.scale)))

    # -- diffusion ------------------------------------------------------------------------------------------

    def add_noise(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return ``x_t``: latents at noise level ``t`` (``int64 (B,)``)."""
        return cast(Tensor, self.scheduler.add_noise(z, noise, t))

    def encode_hint(self, images: Tensor) -> Tensor:
        """Return the SG network's hint features of normalised images; they are computed once per batch."""
        return self.sg.encode_hint(images)

    def control(
        self, x: Tensor, t: Tensor, hint: Tensor, *, full: bool = False, text: Tensor | None = None
    ) -> list[Tensor]:
        """Return the SG network's outputs, see :meth:`SemanticGuidedNetwork.forward`."""
        return self.sg(x, t, self._text(text, x), hint, full=full)  # type: ignore[no-any-return]

    def noise_of(self, x: Tensor, t: Tensor, control: Sequence[Tensor] | None, *, text: Tensor | None = None) -> Tensor:
        """Return the UNet's noise estimate ``eps``.

        Encoder and middle block run without gradient, as in the authors' code, unless :attr:`train_encoder` is set.

        Args:
            x: Noisy latents ``(B,4,h,w)``.
            t: Steps ``int64 (B,)``.
            control: Four maps (as in the authors' code), all of them (each is added to its skip), or ``None``.
            text: Text embedding; the model's by default.
        """
        unet, context = self.unet, self._text(text, x)
        with torch.set_grad_enabled(self.train_encoder and torch.is_grad_enabled()):
            skips, h, time = self._frozen_half(x, t, context)
        if control is not None:
            h = h + control[-1]
            plain = len(skips) - (len(control) - 1)
            skips = [*skips[:plain], *(s + c for s, c in zip(skips[plain:], control[:-1], strict=True))]
        for block in unet.up_blocks:
            own = len(block.resnets)
            extra = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
            h = block(h, res_hidden_states_tuple=tuple(skips[-own:]), temb=time, **extra)
            skips = skips[:-own]
        return cast(Tensor, unet.conv_out(unet.conv_act(unet.conv_norm_out(h))))

    def _frozen_half(self, x: Tensor, t: Tensor, context: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return skips, the middle block's output and the time embedding, in the precision of ``x``.

        The UNet's encoder may be in half precision while the rest is trained.
        """
        unet, dtype = self.unet, self.unet.conv_in.weight.dtype
        inner, context = x.to(dtype), context.to(dtype)
        time = _time(unet, t, inner)
        skips, h = _down(unet.down_blocks, unet.conv_in(inner), time, context)
        h = unet.mid_block(h, time, encoder_hidden_states=context)
        return [skip.to(x.dtype) for skip in skips], h.to(x.dtype), time.to(x.dtype)

    def eps(self, x: Tensor, t: Tensor, hint: Tensor, *, text: Tensor | None = None) -> Tensor:
        """Return the noise estimate with control: one call of the SG network, one of the UNet."""
        return self.noise_of(x, t, self.control(x, t, hint, text=text), text=text)

    def loss(self, z: Tensor, images: Tensor, noise: Tensor, t: Tensor, *, text: Tensor | None = None) -> Tensor:
        """Return the training loss: mean squared error of the noise estimate at ``x_t``."""
        estimate = self.eps(self.add_noise(z, noise, t), t, self.encode_hint(images), text=text)
        return F.mse_loss(estimate, noise)

    # -- what is trained ------------------------------------------------------------------------------------

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that stage 2 trains: the SG network, the UNet's decoder and output.

        With :attr:`train_encoder`, the whole UNet. Zero convolutions whose outputs are unused are left out, because
        they never get a gradient.
        """
        unused = tuple(f"sg.control.controlnet_down_blocks.{i}." for i in range(self.sg.count - 7))
        wanted = ("sg.", "unet.") if self.train_encoder else TRAINED
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if name.startswith(wanted) and not name.startswith(unused)
        }

    def enable_checkpointing(self) -> None:
        """Recompute activations of the trained blocks in the backward pass instead of keeping them."""
        self.unet.enable_gradient_checkpointing(_recomputed)
        self.sg.control.enable_gradient_checkpointing(_recomputed)

    def _text(self, text: Tensor | None, x: Tensor) -> Tensor:
        text = self.text if text is None else text
        return text.to(x.dtype).expand(len(x), -1, -1)


def _recomputed(block: nn.Module, *inputs: Any) -> Any:
    """Call a block with checkpointing; diffusers' own default can't be sent to distributed processes."""
    return checkpoint(block.__call__, *inputs, use_reentrant=False)


def _down_blocks(config: ModelConfig) -> tuple[str, ...]:
    return tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in config.attention)


def _output_widths(config: ModelConfig) -> list[int]:
    """Return the channels of the encoder's maps: the first convolution's, then two and the halved one per level."""
    widths = [config.channels[0]]
    for channels in config.channels:
        widths += [channels] * 3
    return widths[:-1]


def _time(network: Any, t: Tensor, x: Tensor) -> Tensor:
    projected = network.time_proj(t.expand(len(x))).to(x.dtype)
    return cast(Tensor, network.time_embedding(projected))


def _down(blocks: Any, h: Tensor, time: Tensor, text: Tensor) -> tuple[list[Tensor], Tensor]:
    maps = [h]
    for block in blocks:
        if getattr(block, "has_cross_attention", False):
            h, more = block(h, time, encoder_hidden_states=text)
        else:
            h, more = block(h, time)
        maps += more
    return maps, h
