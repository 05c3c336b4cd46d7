"""Pictures of a trained DiAD: test images with their maps, the denoising, the effect of stage 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diadbench.datasets.decoding.data import TestData
from diadbench.methods.diad import DiADModel
from diadbench.methods.diad.drawing import figures, pictures
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.reconstruct import denormalise, normalise

ProgressCall = Callable[[int, int, str], None]


@torch.no_grad()
def through(model: DiADModel, images: Tensor, device: torch.device) -> Tensor:
    """Return the autoencoder's reconstruction of images in [0,1]."""
    mean, _ = model.eval().encode(normalise(images.to(device)))
    return denormalise(model.decode(model.config.scale * mean)).cpu()


def paint_images(folder: Path, test: TestData, raw: Path, progress: ProgressCall) -> None:
    """Draw all images; all maps share one colour scale."""
    ranges = []
    for index in test.table.index:
        with np.load(raw / f"{index}.npz") as kept:
            ranges.append((float(kept["map"].min()), float(kept["map"].max())))
    low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
    done = 0
    for batch in test.batches(8):
        for i, index in enumerate(batch.index.tolist()):
            stem = f"{test.class_names[int(batch.class_id[i])]}/{index}"
            mask = None if batch.mask is None else batch.mask[i].numpy()
            with np.load(raw / f"{index}.npz") as kept:
                pictures.write(folder / stem, batch.image[i].numpy(), mask, kept, (low, high))
            done += 1
            progress(done, len(test), "pictures")


def paint_denoising(folder: Path, method: DiAD, test: TestData, device: torch.device) -> None:
    """Draw the denoising of one image of each class, a defective one if there is one."""
    table = test.table.sort_values("label", ascending=False, kind="stable")
    chosen = set(table.groupby("class").head(1).index)
    for batch in test.batches(8):
        for i, index in enumerate(batch.index.tolist()):
            if index in chosen:
                name = test.class_names[int(batch.class_id[i])]
                times, after, clean = method.denoising(batch.image[i : i + 1].to(device))
                figures.denoising(folder / f"denoising-{name}.png", batch.image[i], times, after, clean)
