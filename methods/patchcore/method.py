"""PatchCore for the multi-class setting: bounded memory, exact greedy selection, blocked search.

1. One pass over the images: patch features are projected to 128 dimensions into a cached float16 array (256 bytes a
   patch). Full features are never kept.
2. The greedy selection runs over the array in lazy batches (:mod:`diadbench.methods.patchcore.coreset`).
3. A second pass over those images that hold a selected patch fetches the full features of these patches.
4. Test patches are searched in blocks.

What differs from the authors' code besides scale: the projection is to 128 Gaussian dimensions as theirs, but in
float16; images are not cropped; scores are not min-max normalised over the test set (which no method may see).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.base import Method, Prediction, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features.backbone_tags import check_backbone
from diadbench.methods.features.backbones import Backbone, backbone_of_run
from diadbench.methods.features.feature_cache import arithmetic
from diadbench.methods.features.kept_backbone import keep_backbone, refuse_other_backbone
from diadbench.methods.features.neighbours import Bank
from diadbench.methods.features.stored_images import images_on
from diadbench.methods.features.weights import read_tensor, write_tensors
from diadbench.methods.patchcore.coreset import greedy_coreset
from diadbench.methods.patchcore.patch_features import EMBEDDINGS, SMOOTHERS
from diadbench.methods.patchcore.patches import Patches, digest, load_or_make, mean_distances, project_patches

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class PatchCore(Method):
    """Nearest neighbours of patch features in a coreset of the training patches (Roth et al., CVPR'22).

    The defaults are the authors' code (preset ``patchcore-official``) at a ratio of 10 %, with a budget;
    the preset ``patchcore-anomalib`` is anomalib's variant.

    Args:
        backbone: timm model, ``model.tag`` for weights from the hub.
        weights: ``hub``, a file or folder, ``package`` or ``random``.
        levels: timm's feature levels, finest first (2 and 3 are ``layer2`` and ``layer3`` of a ResNet).
        embedding: ``official``: ordered averages down to ``dimension``; ``concat``: 3x3 averages, channels joined.
        dimension: Length of a patch feature (``official``).
        ratio: Share of the patches to keep, in (0, 1].
        budget: Keep no more than this many patches, whatever the ratio says.
        projection: Dimensions in which the selection measures distances.
        start: ``mean``: begin with the mean distance to ten random patches; ``random``: with one random patch.
        neighbours: A patch's score is the mean distance to so many neighbours.
        squared: Squared distances (the authors' search index returns these) or Euclidean ones.
        reweight: Weigh the image score by the distances to so many neighbours of the nearest patch (equation 7 of
            the paper, as in anomalib); 0: image score is the largest patch score (the authors' code).
        upsampling: ``bilinear`` (the authors') or ``nearest`` (anomalib).
        sigma: Standard deviation of the map's Gaussian blur, in pixels.
        batch_size: Images at a time while the bank is built.
    """

    info = CATALOG["patchcore"].info

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.tv_in1k",
        weights: str = "hub",
        levels: tuple[int, ...] = (2, 3),
        embedding: Literal["official", "concat"] = "official",
        dimension: int = 1024,
        ratio: float = 0.1,
        budget: int = 50_000,
        projection: int = 128,
        start: Literal["mean", "random"] = "mean",
        neighbours: int = 1,
        squared: bool = True,
        reweight: int = 0,
        upsampling: Literal["bilinear", "nearest"] = "bilinear",
        sigma: float = 4.0,
        batch_size: int = 4,
    ) -> None:
        if not 0 < ratio <= 1:
            raise UserError(f"patchcore: ratio must be above 0 and at most 1, got {ratio}")
        for name, value in (("budget", budget), ("projection", projection), ("neighbours", neighbours)):
            if value < 1:
                raise UserError(f"patchcore: {name} must be at least 1, got {value}")
        if embedding not in EMBEDDINGS or upsampling not in SMOOTHERS or start not in ("mean", "random"):
            raise UserError(
                f"patchcore: embedding is official or concat, upsampling bilinear or nearest, start mean or random; "
                f"got {embedding}, {upsampling}, {start}"
            )
        self.backbone, self.weights, self.levels = backbone, weights, tuple(levels)
        self.embedding, self.dimension = embedding, dimension
        self.ratio, self.budget, self.projection, self.start = ratio, budget, projection, start
        self.neighbours, self.squared, self.reweight = neighbours, squared, reweight
        self.upsampling, self.sigma, self.batch_size = upsampling, sigma, batch_size
        self._network: Backbone | None = None
        self._bank: Bank | None = None

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a backbone from the hub without a tag."""
        check_backbone(options["backbone"], options["weights"])

    # -- the bank -------------------------------------------------------------------------------------------

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Project all patches, select some, and fetch the full features of the selected ones."""
        network = self._start(run)
        facts = {
            "images": train.fingerprint,
            "weights": network.digest,
            "arithmetic": arithmetic(run.device),
            "levels": self.levels,
            "features": [self.embedding, self.dimension, self.projection, run.seed, self.batch_size],
        }
        scratch = run.directory / f"patchcore-{digest(facts)}"

        def features(chosen: list[int]) -> Tensor:
            return self._features(images_on(train, chosen, run.device)).flatten(2).transpose(1, 2)

        patches = project_patches(
            features,
            len(train),
            dimension=self.projection,
            seed=run.seed,
            batch_size=self.batch_size,
            directory=scratch,
            progress=lambda done, total: run.progress(done, total, "images"),
        )
        selection = self._select(patches, scratch, run)
        run.extras.update(
            patches=len(patches.values),
            coreset_size=len(selection["indices"]),
            coverage_radius=float(selection["radius"][0]) * patches.scale,
            coverage_radius_999=float(selection["radius"][1]) * patches.scale,
        )
        self._bank = Bank(self._gather(selection["indices"], patches.per_image, features, run))

    def _select(self, patches: Patches, scratch: Path, run: RunContext) -> dict[str, NDArray[Any]]:
        total = len(patches.values)
        wanted = max(1, int(self.ratio * total))
        k = min(wanted, self.budget)
        if k < wanted:
            run.notes.append(f"coreset of {k:,} patches, {self.ratio:.3g} of all would be {wanted:,}")
        name = f"coreset-{digest({'k': k, 'start': self.start})}"

        def select() -> dict[str, NDArray[Any]]:
            by_mean = self.start == "mean"
            coreset = greedy_coreset(
                patches.values,
                k,
                start=int(np.random.default_rng(run.seed).integers(total)),
                initial=mean_distances(patches.values, run.seed) if by_mean else None,
                device=run.device,
                progress=lambda done, wanted: run.progress(done, wanted, "coreset"),
                checkpoint=scratch / f"{name}-part.npz",
            )
            return {"indices": coreset.indices, "radius": np.array([coreset.radius, coreset.radius_999])}

        return load_or_make(scratch / f"{name}.npz", select)

    def _gather(self, indices: NDArray[np.int64], per_image: int, features: Any, run: RunContext) -> Tensor:
        """Return ``float32 (k, D)`` full features of the selected patches, image by image."""
        order = np.sort(indices)
        owners, positions = np.divmod(order, per_image)
        images = np.unique(owners)
        rows: list[Tensor] = []
        for begin in range(0, len(images), self.batch_size):
            chosen = images[begin : begin + self.batch_size]
            found = features(chosen.tolist())
            for i, image in enumerate(chosen):
                rows.append(found[i, torch.from_numpy(positions[owners == image])])
            run.progress(min(begin + self.batch_size, len(images)), len(images), "selected patches")
        return torch.cat(rows)

    # -- scoring --------------------------------------------------------------------------------------------

    def _start(self, run: RunContext, *, trained_before: bool = False) -> Backbone:
        self._network = backbone_of_run(
            run, self.backbone, weights=self.weights, out_indices=self.levels, trained_before=trained_before
        )
        return self._network

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        assert self._network is not None, "fit or load first"
        return EMBEDDINGS[self.embedding](self._network(images), self.dimension)

    def predict(self, images: Tensor) -> Prediction:
        """Find the nearest patches of the bank."""
        assert self._bank is not None, "fit or load first"
        features = self._features(images.to(self._bank.vectors.device))
        count, _, height, width = features.shape
        queries = features.flatten(2).transpose(1, 2).flatten(0, 1)
        squared, positions = self._bank.nearest(queries, self.neighbours)
        distances = squared if self.squared else squared.sqrt()
        patches = distances.mean(1).view(count, -1)
        score, farthest = patches.max(1)
        if self.reweight:
            rows = torch.arange(count, device=farthest.device) * height * width + farthest
            score = score * self._weight(queries[rows], positions[rows, 0])
        size = (images.shape[2], images.shape[3])
        return Prediction(SMOOTHERS[self.upsampling](patches.view(count, height, width), size, self.sigma), score)

    def _weight(self, queries: Tensor, nearest: Tensor) -> Tensor:
        """Return the factor of equation 7, small if the nearest patch's neighbours are about as near to the query."""
        assert self._bank is not None
        _, support = self._bank.nearest(self._bank.vectors[nearest], self.reweight)
        distances = (queries[:, None] - self._bank.vectors[support]).square().sum(2).sqrt()
        return 1 - distances.softmax(1)[:, 0]

    # -- keeping --------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Write the bank, and the identity of its backbone."""
        assert self._bank is not None, "fit or load first"
        assert self._network is not None, "fit or load first"
        keep_backbone(directory, self._network)
        write_tensors(directory / "bank.safetensors", {"bank": self._bank.vectors})

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the bank; the backbone is loaded from its own weights and must be the same."""
        refuse_other_backbone(directory, self._start(run, trained_before=True), run)
        self._bank = Bank(read_tensor(directory / "bank.safetensors", "bank", str(run.device)))

    def parameters_count(self) -> int | None:
        """Return the number of parameters of the used part of the backbone."""
        return None if self._network is None else sum(p.numel() for p in self._network.parameters())
