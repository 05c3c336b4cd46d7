"""Sizes of a DiAD: the authors' full size, small ones for CPUs, and those derived from a state dict's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from diadbench.common.errors import UserError, unknown_name

_UNET = "model.diffusion_model."


@dataclass(frozen=True)
class ModelConfig:
    """Widths of all networks. Levels are counted from the finest.

    Attributes:
        channels: Channels of each level of the UNet and of the semantic-guided (SG) network.
        attention: Levels with attention. The middle block always has it.
        context: Width of the text embedding.
        heads: Attention heads, everywhere.
        groups: Groups of each GroupNorm of the UNet and the SG network.
        vae_channels: Channels of each level of the autoencoder; ``n`` levels shrink the image ``2**(n-1)`` times.
        vae_groups: Groups of each GroupNorm of the autoencoder.
        hint_channels: Channels inside the hint encoder: one step of 2 between neighbours.
        latent: Channels of the latent image.
        scale: Factor from the posterior's samples to what the UNet sees (0.18215 in Stable Diffusion).
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    context: int = 768
    heads: int = 8
    groups: int = 32
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_groups: int = 32
    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    latent: int = 4
    scale: float = 0.18215

    @property
    def reduction(self) -> int:
        """Return the number of image pixels per latent pixel, along one side."""
        return int(2 ** (len(self.vae_channels) - 1))

    def check_size(self, height: int, width: int) -> None:
        """Refuse image sizes that the networks can't halve often enough. Raises UserError."""
        unit = self.reduction * 2 ** (len(self.channels) - 1)
        if height % unit or width % unit or min(height, width) < 2 * unit:
            raise UserError(
                f"diad: image size {height}x{width}; expected multiples of {unit} from {2 * unit} on "
                "(smaller maps leave InstanceNorm nothing to average); set `image_size`"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object, where: str = "DiAD's sizes") -> ModelConfig:
        """Create a configuration from the values of :meth:`to_dict`.

        Args:
            values: The values.
            where: Their source, for the error text.

        Raises:
            UserError: No dictionary, unknown keys, or values of another type.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: expected DiAD's sizes by name, found a {type(values).__name__}")
        known = {field.name: field.default for field in fields(cls)}
        for key in values:
            if key not in known:
                raise unknown_name("key of DiAD's model", key, known)
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        for key, value in plain.items():
            if not _is_like(value, known[key]):
                raise UserError(f"{where}: DiAD's size {key} is {value!r}, expected a value like {known[key]!r}")
        return cls(**plain)


SIZES: dict[str, ModelConfig] = {
    "sd15": ModelConfig(),
    "small": ModelConfig(
        channels=(64, 128, 256, 256), context=64, vae_channels=(32, 64, 128, 128), hint_channels=(16, 32, 96, 128)
    ),
    "tiny": ModelConfig(
        channels=(32, 64, 64),
        attention=(False, False, False),
        context=32,
        heads=4,
        groups=8,
        vae_channels=(16, 32, 32),
        vae_groups=8,
        hint_channels=(16, 32, 64),
        scale=1.0,
    ),
}


def size(name: str) -> ModelConfig:
    """Return a size by name: ``sd15``, ``small``, ``tiny``. Raises UserError."""
    if name not in SIZES:
        raise unknown_name("size of DiAD", name, SIZES)
    return SIZES[name]


def of_width(width: int, *, context: int = 768, vae_width: int = 128) -> ModelConfig:
    """Return the authors' layout at another width: ``channels`` are 1, 2, 4 and 4 times ``width``."""
    multiples = (1, 2, 4, 4)
    return ModelConfig(
        channels=tuple(width * m for m in multiples),
        context=context,
        vae_channels=tuple(vae_width * m for m in multiples),
    )


def _is_like(value: object, default: object) -> bool:
    """Whether a value has the type of a default, and a number is above zero."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and bool(value) and all(_is_like(one, default[0]) for one in value)
    if isinstance(default, bool):
        return isinstance(value, bool)
    kinds = (int, float) if isinstance(default, float) else int
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < float("inf")


def infer(state: Mapping[str, Tensor], where: str = "DiAD weights") -> ModelConfig:
    """Derive the sizes from an official-layout state dict's shapes, which don't show heads (8) and groups (32).

    Args:
        state: Tensors by the authors' names.
        where: Source of the tensors, for the error text.

    Raises:
        UserError: The state dict has no UNet in the authors' layout.
    """
    try:
        return _infer(state)
    except KeyError as error:
        raise UserError(f"{where}: expected a whole DiAD in the authors' layout, found {_what_it_is(state)}") from error


def _what_it_is(state: Mapping[str, Tensor]) -> str:
    """Describe weights that aren't a whole DiAD's, with the option that takes them."""
    has_unet, has_autoencoder = (
        any(key.startswith(part) for key in state) for part in (_UNET, ("first_stage_model.", "encoder.", "decoder."))
    )
    if has_unet and has_autoencoder:
        return "Stable Diffusion without control_model; give it as `weights`"
    if has_autoencoder:
        return "an autoencoder alone; give it as `autoencoder`"
    if has_unet:
        return "no autoencoder (first_stage_model) in it; give a file that has one"
    return f"keys like {next(iter(state), '')!r}; are these weights of another method?"


def _infer(state: Mapping[str, Tensor]) -> ModelConfig:
    channels, attention = [], []
    block = 1
    while f"{_UNET}input_blocks.{block}.0.out_layers.3.weight" in state:
        channels.append(state[f"{_UNET}input_blocks.{block}.0.out_layers.3.weight"].shape[0])
        attention.append(f"{_UNET}input_blocks.{block}.1.proj_in.weight" in state)
        block += 3
    vae: list[int] = []
    while f"first_stage_model.encoder.down.{len(vae)}.block.0.conv1.weight" in state:
        vae.append(state[f"first_stage_model.encoder.down.{len(vae)}.block.0.conv1.weight"].shape[0])
    for levels, key in ((channels, f"{_UNET}input_blocks.1.0"), (vae, "first_stage_model.encoder.down.0.block.0")):
        if not levels:
            raise KeyError(key)
    hint = [state[f"control_model.input_hint_block.{i}.weight"].shape[0] for i in range(0, 4 * len(vae), 4)]
    context = state[f"{_UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    return ModelConfig(
        channels=tuple(channels),
        attention=tuple(attention),
        context=context,
        vae_channels=tuple(vae),
        hint_channels=tuple(hint),
        latent=state[f"{_UNET}input_blocks.0.0.weight"].shape[1],
        scale=float(state["scale_factor"]) if "scale_factor" in state else ModelConfig.scale,
    )
