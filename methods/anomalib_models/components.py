"""anomalib's class of a model, and the components around it: pre-processor, folders of downloads."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from diadbench.common.cache.usage import mark_used
from diadbench.common.errors import Skip
from diadbench.methods.base import RunContext


def model_class(name: str) -> Any:
    """Return anomalib's class of a model. Raises Skip if anomalib can't be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # old imports of timm and anomalib themselves
            import anomalib.models
    except ImportError as error:
        raise Skip(f"anomalib:{name}: anomalib can't be imported ({error}); pip install anomalib") from error
    return getattr(anomalib.models, name)


def parts_around(pre_processor: Any) -> dict[str, Any]:
    """Return the components around a model, without those that need labels or draw pictures."""
    parts: dict[str, Any] = {"post_processor": False, "evaluator": False, "visualizer": False}
    return parts if pre_processor is None else parts | {"pre_processor": pre_processor}


def own_folders(cls: Any, given: dict[str, Any], run: RunContext) -> dict[str, Any]:
    """Keep downloads of models out of the working directory: defaults such as ``./datasets/dtd`` use the cache."""
    moved: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        default = str(parameter.default)
        if name not in given and default.startswith("./datasets/"):
            place = run.cache_dir / "anomalib" / default.removeprefix("./datasets/")
            mark_used(place)
            moved[name] = str(place)
    return moved


def normalise_with(model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Normalise the inputs of a model by the means and deviations that its weights were trained with."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize

    def replaced(transform: Any) -> Any:
        if isinstance(transform, Compose):
            return Compose([replaced(part) for part in transform.transforms])
        return Normalize(list(mean), list(std)) if isinstance(transform, Normalize) else transform

    model.pre_processor = PreProcessor(replaced(model.pre_processor.transform))
