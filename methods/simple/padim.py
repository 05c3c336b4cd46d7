"""PaDiM: anomalib's model through the bridge, with this project's options for backbones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models.method import AnomalibMethod
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features.backbone_tags import check_backbone

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData
    from diadbench.methods.base import RunContext

_LAYERS = {"resnet": ("layer1", "layer2", "layer3"), "efficientnet": ("blocks.2", "blocks.4")}


class Padim(AnomalibMethod):
    """Mahalanobis distance to a Gaussian at each patch position (Defard et al., ICPR'21).

    One Gaussian a position for all classes: PaDiM was made for aligned images of one class, and shows it here.

    Args:
        backbone: timm model, ``model.tag`` for weights from the hub.
        weights: ``hub``, a file or folder, ``package`` or ``random``.
        layers: Names of timm's feature modules, finest first. None: layer1 to layer3 of a ResNet, blocks.2 and
            blocks.4 of an EfficientNet.
        n_features: How many of the features to keep, drawn by the seed.
        batch_size: Images at a time.
    """

    info = CATALOG["padim"].info
    model_name = "Padim"

    def __init__(
        self,
        backbone: str = "resnet18.tv_in1k",
        weights: str = "hub",
        layers: tuple[str, ...] | None = None,
        n_features: int = 100,
        batch_size: int = 8,
    ) -> None:
        if n_features < 1:
            raise UserError(f"padim: n_features must be at least 1, got {n_features}")
        chosen = layers or next((names for part, names in _LAYERS.items() if part in backbone), None)
        if chosen is None:
            raise UserError(
                f"padim: name the layers of {backbone}; defaults are known for {' and '.join(_LAYERS)} only"
            )
        self.weights = weights
        self.batch_size = batch_size
        self.max_epochs = 1
        self.max_steps = -1
        self.options = {"backbone": backbone, "layers": list(chosen), "n_features": n_features}
        self._model = None
        self._place = None
        self._notes = []

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a backbone from the hub without a tag."""
        check_backbone(options["backbone"], options["weights"])

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Fit the Gaussians."""
        check_backbone(self.options["backbone"], self.weights)
        super().fit(train, run)
