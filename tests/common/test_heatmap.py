"""One painter of anomaly maps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from diadbench.common.heatmap import PALETTE, overlay, paint

ROOT = Path(__file__).parents[2]


def test_low_is_dark_and_high_is_bright_and_nothing_overflows() -> None:
    picture = paint(np.array([[0.0, 0.5, 1.0], [-9.0, np.nan, 9.0]], np.float32), 0.0, 1.0)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == np.uint8
    brightness = picture.sum(axis=-1, dtype=int)
    assert brightness[0, 0] < brightness[0, 1] < brightness[0, 2]
    assert (picture[1, 0] == picture[0, 0]).all()
    assert (picture[1, 1] == picture[0, 0]).all()
    assert (picture[1, 2] == picture[0, 2]).all()


def test_a_map_of_one_value_is_painted() -> None:
    assert paint(np.full((2, 2), 0.3), 0.3, 0.3).shape == (2, 2, 3)


def test_an_overlay_goes_from_the_image_to_the_map() -> None:
    image, painted = np.full((2, 2, 3), 200, np.uint8), np.full((2, 2, 3), 10, np.uint8)
    assert (overlay(image, painted, 0.0) == image).all()
    assert (overlay(image, painted, 1.0) == painted).all()
    assert overlay(image, painted, np.array([[0.0, 1.0], [0.5, 0.5]]))[..., 0].tolist() == [[200, 10], [105, 105]]


def test_nobody_else_names_the_palette() -> None:
    rooms = ("benchmark", "datasets", "methods", "reports", "diadbench/cli", "diadbench/common")
    found = [path for room in rooms for path in (ROOT / room).rglob("*.py") if re.search(PALETTE, path.read_text())]
    assert [path.name for path in found] == ["heatmap.py"]
