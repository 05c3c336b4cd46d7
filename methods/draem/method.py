"""DRAEM as a method: two networks trained together on synthetic anomalies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods.base import Prediction, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.draem.losses import POOL, draem_loss, image_score
from diadbench.methods.draem.networks import MULTIPLE, Reconstructor, Segmenter, initialise
from diadbench.methods.draem.painting import ImagesWithTextures, draw, paint
from diadbench.methods.draem.synthesis import Pairs, corrupt_batch
from diadbench.methods.draem.textures import PROCEDURAL_NOTE, FolderTextures, ProceduralTextures, Source
from diadbench.methods.training import draws
from diadbench.methods.training.feeding import Fetch, ImagesAlone
from diadbench.methods.training.lightning import Budget, LightningMethod, Precision, Stages
from diadbench.methods.training.optimizers import can_fuse

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: This many images without a positive pixel can't be chance, since each has some with a probability of about 0.4.
WINDOW = 64


class Draem(LightningMethod["_Module"]):
    """DRAEM (Zavrtanik et al., ICCV 2021): repaint an image and segment what had to be repainted.

    Losses, start, corruption, schedule and image score are the authors'. They train each class for about 21,000
    steps (700 epochs); the default budget is that, for all classes together: state it in any comparison.

    Args:
        steps: Budget in optimiser steps; the learning rate falls to a fifth after 80 % and again after 90 %.
        width: Base width of the reconstruction network; 128 is the authors'. The segmentation network's is half.
        segmentation_width: Another base width of the segmentation network.
        textures: Folder of images to paint with (``dtd/images``). ``None``: procedural ones, and a note in every table.
        pool: Side of the window that the map is averaged over for the image score, odd. 21 is the authors', for images
            of 256 pixels; smaller images need a smaller one (5 for 64).
        lr: Learning rate of Adam.
        batch_size: Images a batch; several devices share them.
        clip: Largest gradient norm; the authors have none.
        precision: Lightning's precision.
        accumulate: Forward passes to a step.
        checkpoint_minutes: Minutes between checkpoints of the training.
    """

    info = CATALOG["draem"].info

    def __init__(
        self,
        *,
        steps: int = 21_000,
        width: int = 128,
        segmentation_width: int | None = None,
        textures: str | None = None,
        pool: int = POOL,
        lr: float = 1e-4,
        batch_size: int = 8,
        clip: float | None = None,
        precision: Precision = "32-true",
        accumulate: int = 1,
        checkpoint_minutes: float = 5.0,
    ) -> None:
        segmentation = max(1, width // 2) if segmentation_width is None else segmentation_width
        if width < 1 or segmentation < 1:
            raise UserError(f"draem: widths must be at least 1, found {width} and {segmentation}")
        if pool < 1 or pool % 2 == 0:
            raise UserError(f"draem: pool must be odd and at least 1, found {pool}")
        if lr <= 0:
            raise UserError(f"draem: lr must be above 0, found {lr}")
        self._widths, self._lr, self._textures, self._pool = (width, segmentation), lr, textures, pool
        if steps < 1 or batch_size < 1:
            raise UserError(f"draem: steps and batch_size must be at least 1, found {steps} and {batch_size}")
        self._budget = Budget(
            steps,
            batch_size,
            accumulate=accumulate,
            precision=precision,
            clip=clip,
            checkpoint_minutes=checkpoint_minutes,
        )

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Yield the training of both networks together."""
        yield from super().stages(train, run)
        module = self.fitted()
        run.extras.update(
            steps=self._budget.steps, loss=module.last_loss.item(), positive_share=module.positive_share()
        )

    def build(self, run: RunContext, *, trained_before: bool = False) -> _Module:
        """Return both networks, initialised as in the authors' code."""
        height, width = run.image_size
        if height % MULTIPLE or width % MULTIPLE:
            raise UserError(f"draem: image sides must be multiples of {MULTIPLE}, found {height}x{width}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            module = _Module(*self._widths, lr=self._lr, steps=self._budget.steps)
        module.can_fuse = partial(can_fuse, precision=self._budget.precision, clip=self._budget.clip)
        return module

    def module(self, train: TrainData, run: RunContext) -> _Module:
        """Return both networks with the textures of the anomalies."""
        source: Source
        if self._textures is not None:
            source = FolderTextures(self._textures)
        else:
            source = ProceduralTextures(partial(_image, train), len(train))
            run.notes.append(PROCEDURAL_NOTE)
        module = self.build(run)
        module.source = source
        return module

    def budget(self, train: TrainData) -> Budget:
        """Return the budget of the options."""
        return self._budget

    def fetch(self, train: TrainData, run: RunContext) -> Fetch:
        """Return the images without their class ids; on a GPU, also a texture image for each."""
        if run.device.type != "cuda":
            return ImagesAlone(train)
        return ImagesWithTextures(train, None if self._textures is None else FolderTextures(self._textures), run.seed)

    def predict(self, images: Tensor) -> Prediction:
        """Return the probability of an anomaly at each pixel, its largest pooled mean, and the reconstruction."""
        module = self.fitted()
        with torch.inference_mode():
            images = images.to(module.device)
            reconstruction = module.reconstructor(images)
            maps = module.segmenter(reconstruction, images).softmax(1)[:, 1]
        return Prediction(maps, image_score(maps, self._pool), reconstruction.clamp(0, 1))


def _image(train: TrainData, i: int) -> Tensor:
    return train.images([i])[0]


class _Module(pl.LightningModule):
    """Both networks with one optimiser."""

    images: Tensor
    positives: Tensor
    pixels: Tensor
    last_positive: Tensor
    last_loss: Tensor

    def __init__(
        self, width: int, segmentation_width: int, *, lr: float, steps: int, source: Source | None = None
    ) -> None:
        super().__init__()
        self.lr, self.steps, self.source = lr, steps, source
        self._told: Tensor | None = None
        self.can_fuse: Callable[[list[nn.Parameter]], bool] = can_fuse
        self.reconstructor, self.segmenter = Reconstructor(width), Segmenter(segmentation_width)
        for network in (self.reconstructor, self.segmenter):
            initialise(network)
        for name in ("images", "positives", "pixels", "last_positive"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("last_loss", torch.zeros(()))

    def training_step(self, batch: Tensor | dict[str, Tensor], batch_idx: int) -> Tensor:
        """Paint anomalies into clean images; return the sum of the three losses."""
        # The trainer sets the step's random state; everything painted follows from this one draw.
        seed = draws.number(2**62)
        with torch.autocast(self.device.type, enabled=False):  # Coordinates don't fit half precision.
            pairs = self.pairs(batch, seed)
        reconstruction = self.reconstructor(pairs.corrupted)
        logits = self.segmenter(reconstruction, pairs.corrupted)
        parts = draem_loss(reconstruction, pairs.clean, logits, pairs.mask)
        self.count(pairs.mask)
        self.log_dict(parts)
        self.last_loss = parts["loss"].detach()
        return parts["loss"]

    def pairs(self, batch: Tensor | dict[str, Tensor], seed: int) -> Pairs:
        """Paint anomalies: on the CPU into images ``(B,3,H,W)``, on a GPU also from given textures."""
        assert self.source is not None
        if isinstance(batch, Tensor):
            return corrupt_batch(batch, self.source, Generator().manual_seed(seed), draws.rows(len(batch)))
        pieces = isinstance(self.source, ProceduralTextures)
        return paint(batch["image"], batch["texture"], draw(seed, draws.rows(len(batch["image"]))), pieces=pieces)

    def count(self, mask: Tensor) -> None:
        """Count the painted pixels of a batch ``(B,1,H,W)``.

        Raises:
            RuntimeError: 64 images in a row have none. A segmentation without positive pixels learns nothing; a toolbox
                has published chance-level figures of such a training.
        """
        painted = mask.long().sum()
        self.images += len(mask)
        self.positives += painted
        self.pixels += mask.numel()
        self.last_positive = torch.where(painted > 0, self.images, self.last_positive)
        if self.is_true(self.images - self.last_positive >= WINDOW):
            raise RuntimeError(f"draem: no positive mask pixel in the last {WINDOW} training images")

    def is_true(self, finding: Tensor) -> bool:
        """Whether a condition ``bool ()`` is true; on a GPU an earlier step's value is used to avoid waiting."""
        if finding.device.type == "cpu":
            return bool(finding)
        if self._told is None:
            self._told = torch.zeros((), dtype=torch.bool).pin_memory()
        earlier = bool(self._told)
        self._told.copy_(finding, non_blocking=True)
        return earlier

    def positive_share(self) -> float:
        """Return the share of painted pixels in all pixels so far."""
        return self.positives.item() / max(1, self.pixels.item())

    def configure_optimizers(self) -> Any:
        """Return Adam; the learning rate is divided by five after 80 % and after 90 % of the steps."""
        parameters = list(self.parameters())
        optimizer = torch.optim.Adam(parameters, lr=self.lr, fused=self.can_fuse(parameters))
        marks = [max(1, round(share * self.steps)) for share in (0.8, 0.9)]
        decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, marks, 0.2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}
