"""What a method's predict returns, checked once: one clear line for its author in place of an error deep inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.base import Prediction


def checked(found: Any, count: int, size: tuple[int, int]) -> Prediction:
    """Return a prediction with maps and scores as ``float32``, without gradients.

    Values may be of any real type. NaN and infinity remain: metrics that they touch are undefined, with that reason.

    Args:
        found: What predict returned.
        count: Number of images.
        size: ``(H, W)`` that the maps must have.

    Raises:
        UserError: It is no :class:`Prediction`, lacks a part, has another shape than one map and one score for each
            image, complex or sparse values, or finite ones that float32 can't hold.
    """
    if not isinstance(found, Prediction):
        raise UserError(f"predict: expected Prediction(anomaly_map, score), it returns {_kind(found)}")
    anomaly_map = _values("anomaly_map", found.anomaly_map)
    if tuple(anomaly_map.shape) != (count, *size):
        raise UserError(
            f"anomaly maps: expected {(count, *size)}, one of the size of each image, found {tuple(anomaly_map.shape)}"
        )
    score = _values("score", found.score)
    if score.numel() != count or score.ndim == 0:
        raise UserError(f"scores: expected {count} values, one for each image, found the shape {tuple(score.shape)}")
    _check_reconstruction(found.reconstruction, count)
    return replace(found, anomaly_map=anomaly_map, score=score.reshape(count))


def _values(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        advice = {"NoneType": "both a map and a score are needed", "ndarray": "torch.from_numpy makes one"}
        hint = advice.get(type(value).__name__, "torch.as_tensor makes one")
        raise UserError(f"predict: {name} must be a tensor, it is {_kind(value)}; {hint}")
    if what := _no_plain_values(value):
        raise UserError(f"predict: {name} must be a dense tensor of real numbers, it is {what}")
    plain = value.detach().float()
    if value.dtype == torch.float64 and bool((torch.isinf(plain) & torch.isfinite(value)).any()):
        raise UserError(f"predict: {name} has values beyond float32 (3.4e38), as which it is compared; scale it down")
    return plain


def _no_plain_values(value: Tensor) -> str:
    if value.device.type == "meta":
        return "without values (on the device meta)"
    return "complex" if value.is_complex() else "" if value.layout == torch.strided else "sparse"


def _check_reconstruction(value: Any, count: int) -> None:
    if value is None:
        return
    well = isinstance(value, Tensor) and value.is_floating_point() and value.ndim == 4
    if not well or (len(value), value.shape[1]) != (count, 3):
        raise UserError(
            f"predict: reconstruction must be float (B,3,H,W) in [0,1] with {count} images, it is {_kind(value)}"
        )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (None)"
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
