"""DRAEM as a method: two networks trained together on painted anomalies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor

from diadbench.common.errors import UserError
from diadbench.methods.base import Prediction, RunSettings
from diadbench.methods.catalog import CATALOG
from diadbench.methods.draem.losses import draem_loss, image_score
from diadbench.methods.draem.networks import MULTIPLE, Reconstructor, Segmenter, initialise
from diadbench.methods.draem.synthesis import corrupt_batch
from diadbench.methods.draem.textures import PROCEDURAL_NOTE, FolderTextures, ProceduralTextures, Source
from diadbench.methods.lightning import Batches, LightningMethod, Plan, Precision, Training

if TYPE_CHECKING:
    from diadbench.datasets.data import TrainData

#: So many images without one positive pixel can't be chance: each has some with a probability of about 0.4.
WINDOW = 64


class Draem(LightningMethod):
    """DRAEM (Zavrtanik et al., ICCV 2021): repaint an image and segment what had to be repainted.

    Losses, start, corruption, schedule and image score are the authors'. They train each class for about 21,000
    steps (700 epochs); the default budget is that, for all classes together: state it in any comparison.

    Args:
        steps: Budget in optimiser steps; the learning rate falls to a fifth after 80 % and again after 90 %.
        width: Base width of the reconstruction network; 128 is the authors'. The segmentation network's is half.
        segmentation_width: Another base width of the segmentation network.
        textures: Folder of images to paint with (``dtd/images``). ``None``: procedural ones, and a note in every table.
        lr: Learning rate of Adam.
        batch_size: Images of one process in one step, drawn with replacement.
        clip: Largest gradient norm; the authors have none.
        precision: Lightning's precision.
        accumulate: Forward passes to a step.
        workers: Processes that prepare batches; give a few when training on a GPU.
        checkpoint_every: Steps between checkpoints.
    """

    info = CATALOG["draem"].info

    def __init__(
        self,
        *,
        steps: int = 21_000,
        width: int = 128,
        segmentation_width: int | None = None,
        textures: str | None = None,
        lr: float = 1e-4,
        batch_size: int = 8,
        clip: float | None = None,
        precision: Precision = "32-true",
        accumulate: int = 1,
        workers: int = 0,
        checkpoint_every: int = 200,
    ) -> None:
        segmentation = max(1, width // 2) if segmentation_width is None else segmentation_width
        if width < 1 or segmentation < 1:
            raise UserError(f"draem: widths must be at least 1, found {width} and {segmentation}")
        if lr <= 0:
            raise UserError(f"draem: lr must be above 0, found {lr}")
        self._widths, self._lr, self._textures = (width, segmentation), lr, textures
        self._training = Training(
            batch_size,
            steps,
            replacement=True,
            clip=clip,
            precision=precision,
            accumulate=accumulate,
            checkpoint_every=checkpoint_every,
            workers=workers,
        )

    def training(self) -> Training:
        """Budget and trainer's settings."""
        return self._training

    def build(self, run: RunSettings, plan: Plan | None) -> pl.LightningModule:
        """Make both networks as the authors start them."""
        height, width = run.image_size
        if height % MULTIPLE or width % MULTIPLE:
            raise UserError(f"draem: image sides must be multiples of {MULTIPLE}, found {height}x{width}")
        return _Module(*self._widths, lr=self._lr, plan=plan)

    def batches(self, train: TrainData, plan: Plan, run: RunSettings) -> Batches:
        """Clean image, corrupted image and mask of each step."""
        source: Source
        if self._textures is not None:
            source = FolderTextures(self._textures)
        else:
            source = ProceduralTextures(lambda i: train.images([i])[0], len(train))
            run.notes.append(PROCEDURAL_NOTE)
        return _Painted(train, plan, run.seed, source)

    def fitted(self, train: TrainData, run: RunSettings) -> None:
        """Say how many pixels were painted."""
        module = self.trained()
        assert isinstance(module, _Module)
        run.extras["positive_share"] = module.positive_share()

    def predict(self, images: Tensor) -> Prediction:
        """Return the probability of an anomaly at each pixel, its largest 21x21 mean, and the repainted image."""
        module = self.trained()
        assert isinstance(module, _Module)
        with torch.inference_mode():
            images = images.to(module.device)
            reconstruction = module.reconstructor(images)
            maps = module.segmenter(reconstruction, images).softmax(1)[:, 1]
        return Prediction(maps, image_score(maps), reconstruction.clamp(0, 1))


class _Painted(Batches):
    """Images with anomalies painted in."""

    def __init__(self, train: TrainData, plan: Plan, seed: int, source: Source) -> None:
        super().__init__(train, plan, seed)
        self.source = source

    def make(self, chosen: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Return ``clean``, ``corrupted`` and ``mask``."""
        return vars(corrupt_batch(self.train.images(chosen)[:, :3], self.source, generator))


class _Module(pl.LightningModule):
    """Both networks, one optimiser."""

    images: Tensor
    positives: Tensor
    pixels: Tensor
    last_positive: Tensor

    def __init__(self, width: int, segmentation_width: int, lr: float, plan: Plan | None) -> None:
        super().__init__()
        self.lr, self.plan = lr, plan
        self.reconstructor, self.segmenter = Reconstructor(width), Segmenter(segmentation_width)
        for network in (self.reconstructor, self.segmenter):
            initialise(network)
        for name in ("images", "positives", "pixels"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("last_positive", torch.zeros((), dtype=torch.float64))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Sum of the three losses."""
        reconstruction = self.reconstructor(batch["corrupted"])
        logits = self.segmenter(reconstruction, batch["corrupted"])
        parts = draem_loss(reconstruction, batch["clean"], logits, batch["mask"])
        self.count(batch["mask"])
        self.log_dict(parts)
        return parts["loss"]

    def count(self, mask: Tensor) -> None:
        """Add up the painted pixels of a batch ``(B,1,H,W)``.

        Raises:
            RuntimeError: None in 64 images on end. A segmentation that never sees one learns nothing; a toolbox has
                published chance-level figures of such a training.
        """
        painted = mask.sum()
        self.images += len(mask)
        self.positives += painted
        self.pixels += mask.numel()
        self.last_positive = torch.where(painted > 0, self.images, self.last_positive)
        if self.images - self.last_positive >= WINDOW:
            raise RuntimeError(f"draem: no positive mask pixel in the last {WINDOW} training images")

    def positive_share(self) -> float:
        """Share of the pixels seen so far that were painted."""
        return (self.positives / self.pixels.clamp(min=1)).item()

    def configure_optimizers(self) -> Any:
        """Adam; a fifth of the learning rate after 80 and after 90 % of the steps."""
        assert self.plan is not None
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        marks = [max(1, round(share * self.plan.steps)) for share in (0.8, 0.9)]
        decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, marks, 0.2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}
