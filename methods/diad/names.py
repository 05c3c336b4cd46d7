"""Names of weights: the authors' (Stable Diffusion's layout) and ours (diffusers'), for any width and depth.

The rules are general; every key is accounted for in both directions, and nothing is computed: tensors are renamed,
and the autoencoder's attention weights are viewed as matrices instead of 1x1 convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from diadbench.methods.diad.config import ModelConfig
from diadbench.methods.features.weights import unfit

_PER_LEVEL = 3  # two residual blocks and the change of resolution
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
}
#: Beginnings of the names of a checkpoint's parts.
ROOTS = ("model.diffusion_model.", "control_model.", "first_stage_model.")
#: Buffers of the authors' checkpoints that follow from the schedule, and losses' parameters, which are not loaded.
IGNORED = re.compile(
    r"(betas|alphas_cumprod\w*|sqrt_\w+|ddim_\w+|log_one_minus_alphas_cumprod|posterior_\w+|logvar|lvlb_weights|scale_factor)$"
    r"|(model_ema|first_stage_model\.loss|cond_stage_model)\."
)


def official_name(key: str, config: ModelConfig) -> str:
    """Return the authors' name of one of :class:`DiADModel`'s weights. Raises KeyError for other names."""
    for prefix, official, rename in (
        ("unet.", "model.diffusion_model.", _network_name),
        ("sg.control.", "control_model.", _network_name),
        ("vae.", "first_stage_model.", _vae_name),
    ):
        if key.startswith(prefix):
            stem, _, leaf = key.removeprefix(prefix).rpartition(".")
            return f"{official}{rename(stem, config)}.{leaf}"
    if key.startswith("sg.sff."):
        return "control_model." + key.removeprefix("sg.sff.")
    raise KeyError(key)


def _network_name(stem: str, config: ModelConfig) -> str:
    if stem in _TOP:
        return _TOP[stem]
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)", stem):
        return f"zero_convs.{match[1]}.0"
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)", stem):
        return f"input_hint_block.{2 * int(match[1]) + 2}"
    if stem == "controlnet_cond_embedding.conv_out":
        return f"input_hint_block.{4 * len(config.hint_channels) - 2}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", stem):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{_inner(match[1], match[3])}"
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", stem):
        first = int(match[2]) * _PER_LEVEL + int(match[4])
        block = f"input_blocks.{first + 1}" if match[1] == "down" else f"output_blocks.{first}"
        return f"{block}.{int(match[3] == 'attentions')}.{_inner(match[3], match[5])}"
    if match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", stem):
        return f"input_blocks.{(int(match[1]) + 1) * _PER_LEVEL}.0.op"
    if match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", stem):
        level = int(match[1])
        attention = config.attention[len(config.attention) - 1 - level]
        return f"output_blocks.{level * _PER_LEVEL + 2}.{1 + attention}.conv"
    raise KeyError(stem)


def _inner(kind: str, rest: str) -> str:
    return _RESNET[rest] if kind == "resnets" else rest


def _vae_name(stem: str, config: ModelConfig) -> str:
    stem = stem.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.*)", stem):
        return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.*)", stem):
        return f"{match[1]}.mid.attn_1.{_VAE_ATTENTION[match[2]]}"
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d)\.(.*)", stem):
        return f"encoder.down.{match[1]}.{_vae_inner(match[2])}"
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d)\.(.*)", stem):
        return f"decoder.up.{len(config.vae_channels) - 1 - int(match[1])}.{_vae_inner(match[2])}"
    return stem


def _vae_inner(rest: str) -> str:
    rest = rest.replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")
    return rest.replace("resnets.", "block.")


def to_official(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return our weights in the authors' layout, exactly equal; ``text`` has no name there and is left out."""
    return {official_name(key, config): _as_convolution(key, value) for key, value in state.items() if key != "text"}


def from_official(
    state: Mapping[str, Tensor], ours: Mapping[str, Tensor], config: ModelConfig
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names, and the keys that don't fit.

    Args:
        state: Weights in the authors' layout.
        ours: The model's own state dict: which keys are wanted, with which shapes.
        config: Sizes.

    Returns:
        Weights for ``load_state_dict``, and one line for each key that is missing, unexpected, misshaped or
        unusable (integers, infinite numbers).
    """
    found: dict[str, Tensor] = {}
    problems: list[str] = []
    wanted = {official_name(key, config): key for key in ours if key != "text"}
    for official, key in wanted.items():
        value = state.get(official)
        if value is None:
            problems.append(f"missing {official}")
            continue
        if told := unfit(value, ours[key]):
            problems.append(f"unusable {official}: {told}")
            continue
        expected = _as_convolution(key, ours[key]).shape
        if value.shape == expected:
            found[key] = value.reshape(ours[key].shape)
        elif value.shape == ours[key].shape:  # a linear layer's matrix, as in newer Stable Diffusion files
            found[key] = value
        else:
            problems.append(f"misshaped {official}: has shape {tuple(value.shape)}, expected {tuple(expected)}")
    problems += [f"unexpected {key}" for key in state if key not in wanted and not IGNORED.match(key)]
    return found, problems


def _as_convolution(key: str, value: Tensor) -> Tensor:
    """View the autoencoder's attention matrices as the 1x1 convolutions of the authors' layout."""
    if value.ndim == 2 and re.match(r"vae\.(en|de)coder\.mid_block\.attentions", key):
        return value[:, :, None, None]
    return value
