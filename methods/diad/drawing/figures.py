"""Figures of a DiAD's training and of the steps of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from diadbench.common.files import write_with
from diadbench.methods.diad.drawing.pictures import as_picture

_DPI = 120


def rows(path: Path, images: Mapping[str, Tensor], titles: Sequence[str] = ()) -> None:
    """Write a figure with one row of pictures per entry and the entry's name.

    Args:
        path: File to write (PNG).
        images: ``float32 (N,3,H,W)`` in [0,1], of the same N, by the row's name; clamped.
        titles: Titles of all columns, or none.
    """
    count = len(next(iter(images.values())))
    figure = Figure(figsize=(1.1 * count + 0.7, 1.15 * len(images) + 0.25), layout="constrained")
    grid = figure.subplots(len(images), count, squeeze=False)
    for line, (name, pictures) in zip(grid, images.items(), strict=True):
        for axes, picture in zip(line, pictures.clamp(0, 1).cpu().numpy(), strict=True):
            axes.imshow(as_picture(picture))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=8)
    for axes, title in zip(grid[0], titles or [""] * count, strict=True):
        axes.set_title(title, fontsize=8)
    _save(figure, path)


def denoising(path: Path, image: Tensor, times: Sequence[int], after: Tensor, clean: Tensor) -> None:
    """Write a figure of the steps from noise to a reconstruction.

    Args:
        path: File to write (PNG).
        image: The image ``(3,H,W)`` in [0,1].
        times: Times of the steps.
        after: Decoded latents after each step ``(steps,1,3,H,W)``.
        clean: Decoded estimates of the clean latents in each step, of the same shape.
    """
    both = {"latents": _behind(image, after), "estimate": _behind(image, clean)}
    rows(path, both, ["image", *(f"t = {t}" for t in times)])


def losses(history: Path, path: Path, stage: str) -> None:
    """Write the curves of a stage's losses, each with its running mean; nothing if no curve was kept.

    Args:
        history: ``history.csv`` of the training: ``step, name, value``.
        path: File to write (PNG).
        stage: Prefix of the names: ``autoencoder``, ``diffusion``.
    """
    table = pd.read_csv(history) if history.is_file() else pd.DataFrame(columns=["step", "name", "value"])
    table = table[table["name"].str.startswith(f"{stage}/")]
    if table.empty:
        return
    names = list(table["name"].unique())
    figure = Figure(figsize=(3.4 * len(names), 2.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        curve = table[table["name"] == name].set_index("step")["value"]
        axes.plot(curve.index, curve, color="0.75", linewidth=0.8)
        axes.plot(curve.index, curve.rolling(max(len(curve) // 20, 1), min_periods=1).mean(), linewidth=1.5)
        axes.set_title(name.removeprefix(f"{stage}/"), fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8, which="both")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        if curve.min() > 0 and curve.max() > 10 * curve.min():  # a narrow range has no ticks on a logarithmic axis
            axes.set_yscale("log")
    _save(figure, path)


def _behind(image: Tensor, pictures: Tensor) -> Tensor:
    """Return the image, followed by the first picture of each step."""
    return torch.cat([image[None].cpu(), pictures[:, 0].cpu()])


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, partial(figure.savefig, format="png", dpi=_DPI))
