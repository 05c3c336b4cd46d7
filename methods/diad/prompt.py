"""The embedding of the empty prompt, computed once by CLIP's text encoder and then kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.methods.features.weights import load_state, unfit

#: CLIP's tokens of "": begin, then end as padding up to 77.
BEGIN, END, LENGTH = 49406, 49407, 77
OFFICIAL_PREFIX = "cond_stage_model.transformer."
#: Number of heads of Stable Diffusion 1's text encoder, one for 64 channels.
WIDTH = 768
_ANY_PREFIX = "cond_stage_model."
_TOKENS = "text_model.embeddings.token_embedding.weight"
_FEED_FORWARD = "text_model.encoder.layers.0.mlp.fc1.weight"
#: Note for tables if there is no embedding.
ZERO = "DiAD's text embedding is zero"


def empty_prompt(encoder: Any) -> Tensor:
    """Return the last hidden state ``float32 (1,77,C)`` of ``transformers``' CLIPTextModel for the empty prompt."""
    tokens = torch.full((1, LENGTH), END)
    tokens[0, 0] = BEGIN
    with torch.no_grad():
        hidden: Tensor = encoder(tokens).last_hidden_state
    return hidden.float()


def embedding_of(state: Mapping[str, Tensor], where: str = "weights") -> Tensor | None:
    """Return the embedding from the text encoder in an official-layout state dict; ``None`` if it has no encoder.

    Raises:
        UserError: Keys of the text encoder are missing or unexpected.
    """
    own = {key.removeprefix(OFFICIAL_PREFIX): value for key, value in state.items() if key.startswith(OFFICIAL_PREFIX)}
    if not own:
        return None
    from transformers import CLIPTextConfig, CLIPTextModel

    # Newer files use the names of a newer transformers, without "text_model.".
    own = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in own.items()}
    own.pop("text_model.embeddings.position_ids", None)
    for key in (_TOKENS, _FEED_FORWARD):
        if key not in own:
            raise UserError(f"{where}: text encoder: no key {OFFICIAL_PREFIX}{key}; the file is not whole")
    vocabulary, width = own[_TOKENS].shape
    layers = 1 + max(int(key.split(".")[3]) for key in own if key.startswith("text_model.encoder.layers."))
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=own[_FEED_FORWARD].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=_heads(width),
        max_position_embeddings=LENGTH,
    )
    return _embedded(CLIPTextModel(config), own, where)


def embedding_with(config: Path, state: Mapping[str, Tensor]) -> Tensor:
    """Return the embedding from a text encoder of transformers, by its ``config.json`` and its weights.

    Raises:
        UserError: No such file, or it isn't whole; keys are missing or unexpected.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = read_json(config)
    if not isinstance(sizes, dict):
        raise UserError(f"{config}: expected the sizes of CLIP's text encoder as JSON; get it again")
    known: Any = CLIPTextConfig
    own = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in state.items()}
    own.pop("text_model.embeddings.position_ids", None)
    return _embedded(CLIPTextModel(known.from_dict(sizes)), own, str(config.parent))


def _embedded(encoder: Any, own: Mapping[str, Tensor], where: str) -> Tensor:
    if not any(key.startswith("text_model.") for key in encoder.state_dict()):
        own = {key.removeprefix("text_model."): value for key, value in own.items()}
    load_state(encoder, own, f"{where}: text encoder")
    return empty_prompt(encoder.eval())


def embedding_or_zero(state: Mapping[str, Tensor], shape: tuple[int, ...], where: str, notes: list[str]) -> Tensor:
    """Return the embedding from the text encoder in a state dict; if there is none of CLIP's, zero, with a note.

    Raises:
        UserError: The text encoder is not whole, or of another width.
    """
    found = embedding_of(state, where)
    if found is None:
        another = any(key.startswith(_ANY_PREFIX) for key in state)
        reason = "has another kind of text encoder" if another else "has no text encoder"
        notes.append(f"{ZERO}: {Path(where).name} {reason}")
        return torch.zeros(shape)
    if found.shape[-1] != WIDTH:  # The number of heads can't be derived from shapes.
        notes.append(f"heads of the text encoder in {Path(where).name} are guessed: {_heads(found.shape[-1])}")
    return fitting(found, shape, where)


def _heads(width: int) -> int:
    return max(width // 64, 1)


def fitting(text: object, shape: tuple[int, ...], where: str) -> Tensor:
    """Return ``text`` if it is a tensor of the model's shape and finite numbers. Raises UserError."""
    if not isinstance(text, Tensor):
        raise UserError(f"{where}: text embedding is a {type(text).__name__}, expected a tensor")
    if tuple(text.shape) != tuple(shape):
        raise UserError(f"{where}: text embedding is {tuple(text.shape)}, expected {tuple(shape)}")
    if told := unfit(text, torch.zeros(())):
        raise UserError(f"{where}: text embedding {told}")
    return text
