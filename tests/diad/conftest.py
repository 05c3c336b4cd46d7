"""Weights by the golden file's rule, and the authors' outputs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "diad"


def weight(key: str, shape: Sequence[int]) -> Tensor:
    drawn = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if len(shape) >= 2:
        gain = 1.7 if ".input_hint_block." in key else 1.0
        drawn = drawn * np.float32(gain / np.sqrt(np.prod(shape[1:])))
    elif key.endswith(".weight"):
        drawn = 1 + np.float32(0.1) * drawn
    else:
        drawn = np.float32(0.02) * drawn
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))


def drawn(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    return {key: weight(key, shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    return drawn(json.loads((GOLDEN / "keys.json").read_text()))


@pytest.fixture(scope="module")
def layout() -> Callable[[int, int], dict[str, Tensor]]:
    """Weights in the authors' layout, of a width and a context."""
    from diadbench.methods import diad
    from diadbench.methods.diad.names import to_official

    def make(width: int, context: int) -> dict[str, Tensor]:
        config = diad.of_width(width, context=context, vae_width=32)
        with torch.device("meta"):
            state = to_official(diad.DiADModel(config).state_dict(), config)
        return drawn({key: tuple(value.shape) for key, value in state.items()})

    return make


@pytest.fixture(scope="module")
def data() -> dict[str, Tensor]:
    with np.load(GOLDEN / "data.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}
