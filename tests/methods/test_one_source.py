"""Weights come from one place: an option that a checkpoint takes the place of is refused, not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.runs.runner import run_grid
from diadbench.common.errors import UserError


@pytest.mark.parametrize(
    ("method", "option"),
    [("uniad", "weights"), ("diad", "weights"), ("diad", "autoencoder"), ("diad-tiny", "autoencoder")],
)
def test_a_checkpoint_beside_another_source_is_refused(method: str, option: str, tmp_path: Path) -> None:
    options = {"checkpoint": "trained.ckpt", option: "other.safetensors"}
    values = {"name": "run", "methods": {method: {"options": options}}, "datasets": ["toy"], "seeds": [0]}
    with pytest.raises(
        UserError, match=f"checkpoint='trained.ckpt' brings these weights too, so {option}='other.safet"
    ):
        run_grid(parse_grid({**values, "image_size": 64, "device": "cpu"}), tmp_path / "run", quiet=True)
