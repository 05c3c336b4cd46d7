"""Pictures of one tested image, as the paper shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from diadbench.common.files import write_with
from diadbench.common.heatmap import PALETTE, overlay, paint

Array = NDArray[Any]


def write(
    directory: Path, image: Array, mask: Array | None, kept: Mapping[str, Array], limits: tuple[float, float]
) -> None:
    """Write ``input``, ``reconstruction``, ``heat``, ``overlay``, ``mask``, ``figure`` (PNG) and ``map.npy``.

    Args:
        directory: One image's directory.
        image: ``float32 (3,H,W)`` in [0,1].
        mask: ``bool (H,W)``, or ``None``.
        kept: ``map (H,W)``, ``levels (n,H,W)``, ``reconstruction (3,H,W)``, ``score ()``.
        limits: Values of the darkest and the brightest colour, the same for all images.
    """
    heat_map = kept["map"]
    plain, heat = as_picture(image), Image.fromarray(paint(heat_map, *limits))
    shown = {
        "input": plain,
        "reconstruction": as_picture(kept["reconstruction"]),
        "heat": heat,
        "overlay": Image.fromarray(overlay(np.asarray(plain), np.asarray(heat))),
    }
    if mask is not None:
        shown["mask"] = Image.fromarray((mask * 255).astype(np.uint8))
    for name, picture in shown.items():
        write_with(directory / f"{name}.png", picture.save)
    write_with(directory / "map.npy", lambda name: np.save(name, heat_map))
    levels = {f"level {i}": level for i, level in enumerate(kept["levels"], start=1)}
    panels: dict[str, Any] = {
        "input": shown["input"],
        "reconstruction": shown["reconstruction"],
        **levels,
        "anomaly map": heat,
        "overlay": shown["overlay"],
    }
    if "mask" in shown:
        panels["ground truth"] = shown["mask"]
    figure = draw(panels, f"score {float(kept['score']):.3f}")
    write_with(directory / "figure.png", lambda name: figure.savefig(name, format="png", dpi=100))


def draw(panels: Mapping[str, Any], title: str) -> Figure:
    """Return a row of named panels; each array has its own colour scale."""
    figure = Figure(figsize=(1.6 * len(panels), 2.1), layout="constrained")
    for axes, (name, content) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(content, cmap=PALETTE if isinstance(content, np.ndarray) else "gray")
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure


def as_picture(image: Array) -> Image.Image:
    """Convert ``float (3,H,W)`` in [0,1] to an RGB picture."""
    return Image.fromarray((image.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8))
