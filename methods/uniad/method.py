"""UniAD as a method: cached frozen features, a head trained on them, and scores from its reconstruction error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json
from diadbench.methods.base import Prediction, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features.backbone_tags import check_backbone
from diadbench.methods.features.backbones import Backbone, load_backbone
from diadbench.methods.features.feature_cache import build_cache
from diadbench.methods.features.origin import add, notes_of, one_source
from diadbench.methods.training.cuda_graph import GraphedModule
from diadbench.methods.training.feeding import Fetch, ImagesAlone
from diadbench.methods.training.lightning import Budget, LightningMethod, Precision, Stage, Stages, count_parameters
from diadbench.methods.training.optimizers import can_fuse_on_gpu
from diadbench.methods.training.resident import features_for
from diadbench.methods.uniad.head import HeadConfig, PositionKind, UniADHead
from diadbench.methods.uniad.official import (
    LoadReport,
    Padding,
    drop_unused_stages,
    load_checkpoint,
    use_official_padding,
)
from diadbench.methods.uniad.scoring import ScoreKind, align, feature_loss, image_score, score_map
from diadbench.methods.uniad.settings import PRESETS, Preset, Settings, resolve

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class UniAD(LightningMethod["_Module"]):
    """UniAD (You et al., NeurIPS 2022): one transformer reconstructs the features of all classes.

    Options that are ``None`` come from the preset; :attr:`settings` has the resolved values, and so has every result
    (``extras``). ``official`` is the authors' MVTec-AD run (images of 224 pixels), ``ader`` that of the ADer toolbox
    (256 pixels). The image size is the run's. The last step's weights are the result.

    Args:
        preset: ``official`` or ``ader``.
        steps: Budget in optimiser steps; takes the place of ``epochs``.
        epochs: Budget in epochs.
        backbone: Any timm model with feature maps, ``model.tag`` for weights from the hub.
        weights: ``hub``, ``package``, ``random``, a file or a folder.
        layers: Which of the backbone's feature levels to use; strides must divide ``stride`` or be multiples of it.
        padding: ``official`` is that of the authors' EfficientNets, ``timm`` follows the input. ``None``: the preset's,
            but ``timm`` for other networks than EfficientNets.
        stride: Input pixels per token.
        checkpoint: One of the authors' checkpoints: backbone and head come from it and nothing is trained.
        neighbor_size: Side of the neighbourhood that a token may not see, in tokens.
        mask_encoder: Whether the mask holds in the encoder.
        mask_decoder: Whether it holds in the decoder's first attention.
        mask_output: Whether it holds in the decoder's second attention.
        hidden: Width of the transformer.
        heads: Attention heads.
        encoder_layers: Encoder layers.
        decoder_layers: Decoder layers.
        feedforward: Hidden width of the feed-forward parts.
        dropout: Dropout of the transformer.
        position: ``learned`` or ``sine``.
        jitter: Strength of the feature jitter; 0 turns it off.
        jitter_prob: Share of batches that are jittered.
        lr: Learning rate.
        weight_decay: Of AdamW.
        lr_drop: Share of the budget after which the learning rate falls to a tenth.
        batch_size: Images a batch; several devices share them.
        clip: Largest gradient norm.
        drop_last: Leave out an epoch's last, smaller batch.
        score: Image score: ``max`` of 16x16 means, ``std`` or ``mean`` of the map.
        cache: Extract the training images' features once, in half precision, and train from these.
        precision: Lightning's precision.
        accumulate: Forward passes to a step.
        cuda_graph: On one GPU, replay the whole training step as one CUDA graph: same kernels, same random numbers, and
            one call of the host instead of several hundred. ``extras`` say whether it was done, or why not.
        checkpoint_minutes: Minutes between checkpoints of the training.
    """

    info = CATALOG["uniad"].info

    def __init__(
        self,
        preset: Preset = "official",
        *,
        steps: int | None = None,
        epochs: int | None = None,
        backbone: str = "tf_efficientnet_b4.aa_in1k",
        weights: str = "hub",
        layers: tuple[int, ...] = (0, 1, 2, 3),
        padding: Padding | None = None,
        stride: int = 16,
        checkpoint: str | None = None,
        neighbor_size: int | None = None,
        mask_encoder: bool = True,
        mask_decoder: bool = True,
        mask_output: bool = True,
        hidden: int = 256,
        heads: int = 8,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        feedforward: int = 1024,
        dropout: float = 0.1,
        position: PositionKind = "learned",
        jitter: float = 20.0,
        jitter_prob: float = 1.0,
        lr: float | None = None,
        weight_decay: float | None = None,
        lr_drop: float | None = None,
        batch_size: int | None = None,
        clip: float | None = None,
        drop_last: bool | None = None,
        score: ScoreKind = "max",
        cache: bool = True,
        precision: Precision = "32-true",
        accumulate: int = 1,
        cuda_graph: bool = True,
        checkpoint_minutes: float = 5.0,
    ) -> None:
        is_efficientnet = backbone.startswith("tf_efficientnet_b")
        given = {
            "padding": padding or (None if is_efficientnet else "timm"),
            "neighbor_size": neighbor_size,
            "epochs": epochs,
            "steps": steps,
            "clip": clip,
            "drop_last": drop_last,
            "lr": lr,
            "weight_decay": weight_decay,
            "lr_drop": lr_drop,
            "batch_size": batch_size,
        }
        self.settings: Settings = resolve(preset, given)
        self._other_padding = padding is None and self.settings.padding != PRESETS[preset].padding
        self._head = HeadConfig(
            instride=stride,
            hidden_dim=hidden,
            nhead=heads,
            num_encoder_layers=encoder_layers,
            num_decoder_layers=decoder_layers,
            dim_feedforward=feedforward,
            dropout=dropout,
            pos_embed_type=position,
            neighbor_size=(self.settings.neighbor_size, self.settings.neighbor_size),
            mask=(mask_encoder, mask_decoder, mask_output),
            jitter_scale=jitter,
            jitter_prob=jitter_prob,
        )
        if hidden % (2 * heads):
            raise UserError(f"uniad: hidden must be a multiple of 2 * heads, found {hidden} and {heads}")
        self._backbone_options: dict[str, Any] = {"name": backbone, "weights": weights, "out_indices": tuple(layers)}
        self._checkpoint, self._score, self._cache, self._cuda_graph = checkpoint, score, cache, cuda_graph
        self._trainer_options: dict[str, Any] = {
            "precision": precision,
            "accumulate": accumulate,
            "checkpoint_minutes": checkpoint_minutes,
        }
        # The number of steps is unknown before the images are; everything else is validated at once.
        Budget(1, self.settings.batch_size, clip=self.settings.clip, **self._trainer_options)
        self.backbone: Backbone | None = None
        self.report: LoadReport | None = None

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a backbone from the hub without a tag, unless a checkpoint fills it, and two sources of weights."""
        if options["checkpoint"] is None:
            check_backbone(options["backbone"], options["weights"])
        one_source("uniad", options, cls, "weights")

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Yield the training of the head from cached features; nothing if the authors' checkpoint has all weights."""
        budget = self.settings.budget(len(train), **self._trainer_options)
        module = self.build(run)
        module.steps = budget.steps
        if self._checkpoint is None:
            yield Stage(module, budget, fetch=self.fetch(train, run))
            run.extras.update(steps=budget.steps, loss=module.last_loss.item())
            if run.device.type == "cuda":  # processes of several devices have modules of their own
                run.extras["cuda_graph"] = module.graph_said or "several devices train together"
        else:
            assert self.report is not None
            add(run.notes, [*notes_of(None, Path(self._checkpoint).name, run), *self.report.notes])
            run.extras["checkpoint"] = str(self.report)
        run.extras["settings"] = asdict(self.settings)
        self.keep(module, run)

    def steps_for(self, images: int) -> int:
        """Return the steps for so many images; 0 where all comes from the authors' checkpoint."""
        return 0 if self._checkpoint else self.settings.budget(images, **self._trainer_options).steps

    def predict(self, images: Tensor) -> Prediction:
        """Score images; the map has the images' size (each token enlarged ``stride`` times)."""
        module = self.fitted()
        with torch.inference_mode():
            features = self._features(images.to(module.device))
            maps = score_map(module.head(features).feature_rec, features, self._head.instride)
        return Prediction(maps[:, 0], image_score(maps, self._score))

    def save(self, directory: Path) -> None:
        """Write the head, and the identity of its backbone."""
        super().save(directory)
        assert self.backbone is not None
        write_json(directory / "uniad.json", {"backbone": self.backbone.name, "digest": self.backbone.digest})

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the head; the backbone is loaded from its own weights and must be the same."""
        super().load(directory, run)
        assert self.backbone is not None
        said = read_json(directory / "uniad.json") or {}
        if said.get("digest") != self.backbone.digest:
            raise UserError(
                f"{directory}: trained on {said.get('backbone')} with weights {said.get('digest', '')[:12]}, "
                f"found {self.backbone.name} with {self.backbone.digest[:12]}; give the same backbone and weights"
            )

    def parameters_count(self) -> int | None:
        """Return the number of parameters of head and backbone."""
        return None if self._model is None or self.backbone is None else count_parameters(self._model, self.backbone)

    # -- parts ------------------------------------------------------------------------------------------------

    def build(self, run: RunContext, *, trained_before: bool = False) -> _Module:
        """Create the backbone and a head for it and the image size: untrained, or both from the checkpoint."""
        self.backbone = self._make_backbone(run, trained_before=trained_before)
        height, width = run.image_size
        stride = self._head.instride
        coarsest = max(stride, *self.backbone.strides)
        if height % coarsest or width % coarsest:
            raise UserError(f"uniad: image sides must be multiples of {coarsest}, found {height}x{width}")
        size = (height // stride, width // stride)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            head = UniADHead(replace(self._head, inplanes=sum(self.backbone.channels), feature_size=size))
        if self._checkpoint is not None:
            backbone, self.report = load_checkpoint(self._checkpoint, head, self.backbone)
            self.backbone = backbone.to(run.device)
        return _Module(
            head,
            self.settings,
            self._features,
            precision=self._trainer_options["precision"],
            wants_graph=self._cuda_graph,
        )

    def _make_backbone(self, run: RunContext, *, trained_before: bool) -> Backbone:
        options = dict(self._backbone_options)
        if self._checkpoint is not None:
            options["weights"] = "random"  # The checkpoint provides all weights.
        backbone = load_backbone(**options, trained_before=trained_before)
        drop_unused_stages(backbone.network)
        if self._checkpoint is None:
            backbone.tell(run)
        if self._other_padding:
            add(run.notes, ["padding as timm has it: the authors' is for tf_efficientnet_b0 to b7"])
        if self.settings.padding == "official":
            use_official_padding(backbone.network, backbone.name)
        return backbone.to(run.device)

    def _features(self, images: Tensor) -> Tensor:
        """Return aligned features ``float32 (B,C,h,w)`` of images; the backbone is moved to the images' device."""
        assert self.backbone is not None
        if self.backbone.device != images.device:
            self.backbone.to(images.device)
        with torch.no_grad():
            return align(self.backbone(images), self.backbone.strides, self._head.instride)

    def fetch(self, train: TrainData, run: RunContext) -> Fetch:
        """Return aligned features ``float32 (B,C,h,w)`` from the cache, or images if there is no cache."""
        if not self._cache:
            return ImagesAlone(train)
        assert self.backbone is not None
        cache = build_cache(
            self._features,
            train,
            run.cache_dir / "features",
            run.device,
            progress=run.progress,
            backbone=self.backbone.name,
            digest=self.backbone.digest,
            layers=list(self._backbone_options["out_indices"]),
            padding=self.settings.padding,
            stride=self._head.instride,
        )
        probe = list(range(min(4, len(train))))
        run.extras["half_precision_error"] = cache.error(self._features(train.images(probe).to(run.device)), probe)
        return features_for(cache, run.device, run.devices)


class _Module(GraphedModule):
    """The training of the head; a batch is aligned features, or images (of three channels)."""

    def __init__(
        self,
        head: UniADHead,
        settings: Settings,
        features: Callable[[Tensor], Tensor],
        steps: int = 1,
        precision: str = "32-true",
        *,
        wants_graph: bool = True,
    ) -> None:
        super().__init__(wants_graph=wants_graph)
        self.head, self.settings, self.steps, self.precision = head, settings, steps, precision
        self.features = features

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean squared error to the features before the jitter."""
        target = self.features(batch) if batch.shape[1] == 3 else batch
        return feature_loss(self.head(target).feature_rec, target)

    def no_graph(self) -> str:
        """Return why there is no graph; the host decides step by step which are jittered if not all are."""
        drawn = 0 < self.head.config.jitter_prob < 1 and self.head.config.jitter_scale > 0
        return super().no_graph() or ("jitter_prob is decided step by step" if drawn else "")

    def configure_optimizers(self) -> Any:
        """Return AdamW with one decrease of the learning rate to a tenth."""
        s = self.settings
        parameters = list(self.head.parameters())
        fused = can_fuse_on_gpu(parameters, precision=self.precision, clip=s.clip)
        optimizer = torch.optim.AdamW(
            parameters, lr=s.lr, betas=(0.9, 0.999), weight_decay=s.weight_decay, fused=fused or None
        )
        drop = torch.optim.lr_scheduler.MultiStepLR(optimizer, [max(1, round(s.lr_drop * self.steps))], 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": drop, "interval": "step"}}
