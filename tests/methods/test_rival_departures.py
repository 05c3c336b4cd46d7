"""Where anomalib departs from the authors' codes: the table in the docs, and the notes of cells."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from diadbench.methods.anomalib_models.departures import DEPARTURES, READ_IN, departure_notes, departures_table
from tests.helpers.rival_presets import PRESETS


def test_the_docs_have_the_departures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert departures_table() in text, "python -m diadbench.methods.anomalib_models.departures prints the table"
    assert READ_IN in text


def test_departures_are_those_of_the_installed_anomalib() -> None:
    """Where anomalib mends one of them, this fails: then the table must change."""
    from anomalib.models.components import GaussianBlur2d
    from anomalib.models.image.anomaly_dino.lightning_model import AnomalyDINO
    from anomalib.models.image.dinomaly import lightning_model as dinomaly
    from anomalib.models.image.dinomaly.torch_model import DecoderViTBlock, DinomalyModel
    from anomalib.models.image.inp_former import lightning_model as inp_former
    from anomalib.models.image.inp_former.torch_model import InpFormerModel
    from anomalib.models.image.rad.torch_model import RadModel
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

    assert set(DEPARTURES) == {model for model, *_ in PRESETS.values()} | {"FoundAD"}
    assert dinomaly.TRAINING_CONFIG["optimizer"]["eps"] == 1e-8
    assert inp_former.TRAINING_CONFIG["optimizer"]["eps"] == 1e-10
    for module in (dinomaly, inp_former):
        assert "return [optimizer], [lr_scheduler]" in inspect.getsource(module), "moved once an epoch by Lightning"
    assert "bias=False" in inspect.getsource(DecoderViTBlock)
    assert "anomaly_map=anomaly_map_resized" in inspect.getsource(DinomalyModel.forward), "kept before the blur"
    assert "size=DEFAULT_RESIZE_SIZE" not in inspect.getsource(InpFormerModel.forward)
    assert "size=output_size" in inspect.getsource(RadModel._score)
    assert "anomaly_map.sigmoid()" in inspect.getsource(SupersimplenetModel.forward)
    assert inspect.signature(AnomalyDINO).parameters["masking"].default is False
    blur = GaussianBlur2d(sigma=4, channels=1, kernel_size=5)
    assert float(blur(torch.ones(1, 1, 8, 8)).min()) == pytest.approx(1.0), "zeros around would darken the border"


def test_a_note_leaves_out_what_the_options_mend() -> None:
    plain, mended = (departure_notes("Dinomaly", {"lr_interval": value})[0] for value in ("model", "step"))
    assert "once an epoch" in plain
    assert "once an epoch" not in mended
    assert "neither resized to 256 nor blurred" in mended
    assert "context" not in departure_notes("Dinomaly", {"use_context_recentering": False})[0]
    assert "context" in departure_notes("Dinomaly", {"use_context_recentering": True})[0]
    assert departure_notes("Padim", {}) == []
