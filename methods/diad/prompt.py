"""The embedding of the empty prompt: made once by CLIP's text encoder, then kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError

#: CLIP's tokens of "": begin, then end as padding up to 77.
BEGIN, END, LENGTH = 49406, 49407, 77
OFFICIAL_PREFIX = "cond_stage_model.transformer."


def empty_prompt(encoder: Any) -> Tensor:
    """Return the last hidden state ``float32 (1,77,C)`` of ``transformers``' CLIPTextModel for the empty prompt."""
    tokens = torch.full((1, LENGTH), END)
    tokens[0, 0] = BEGIN
    with torch.no_grad():
        hidden: Tensor = encoder(tokens).last_hidden_state
    return hidden.float()


def embedding_of(state: Mapping[str, Tensor]) -> Tensor | None:
    """Return the embedding from the text encoder in an official-layout state dict; ``None`` if there is none.

    Raises:
        UserError: Keys of the text encoder are missing or unexpected.
    """
    own = {key.removeprefix(OFFICIAL_PREFIX): value for key, value in state.items() if key.startswith(OFFICIAL_PREFIX)}
    if not own:
        return None
    from transformers import CLIPTextConfig, CLIPTextModel

    own.pop("text_model.embeddings.position_ids", None)
    vocabulary, width = own["text_model.embeddings.token_embedding.weight"].shape
    layers = 1 + max(int(key.split(".")[3]) for key in own if key.startswith("text_model.encoder.layers."))
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=own["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=max(width // 64, 1),
        max_position_embeddings=LENGTH,
    )
    encoder: Any = CLIPTextModel(config)
    keys = encoder.state_dict().keys()
    if not any(key.startswith("text_model.") for key in keys):
        own = {key.removeprefix("text_model."): value for key, value in own.items()}
    wrong = sorted(set(keys) ^ set(own))
    if wrong:
        raise UserError(f"text encoder: {len(wrong)} keys missing or unexpected: {', '.join(wrong[:5])}")
    encoder.load_state_dict({key: value.float() for key, value in own.items()})
    return empty_prompt(encoder.eval())
